"""The stages of the net: train -> compress and export, each looked up in the cache before it is run."""

from __future__ import annotations

import copy
import functools
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tricksearch.records.recipe import Recipe
from tricksearch.trial.cache import Entry
from tricksearch.trial.clock import TrainingClock
from tricksearch.trial.context import JobContext, StageLog
from tricksearch.trial.keys import Keys, stage_keys
from tricksearch.trial.measuring.export import count, export
from tricksearch.trial.rungs import Rungs
from tricksearch.trial.training import teacher
from tricksearch.trial.training.watch import effective
from tricksearch.trial.training.workbench import Bench

GRAPH = "model.onnx"


class NetStages:
    """One recipe and one seed, from the untrained net to the float graph."""

    def __init__(
        self, recipe: Recipe, seed: int, context: JobContext, folder: Path, rungs: Rungs | None = None
    ) -> None:
        self.recipe, self.seed, self.context, self.folder, self._rungs = recipe, seed, context, folder, rungs
        self.bench = Bench(
            recipe, seed, context.registry, context.data, context.machine, folder, teach=self.teach, net=self.compressed
        )
        test = context.tester is not None
        self.keys: Keys = stage_keys(
            recipe, seed, self.bench.tricks, context.data, self.bench.precision, context.registry, test
        )
        self.log = StageLog()
        self.clock = TrainingClock(self.bench)
        self._taught_epochs = 0.0

    @property
    def spent_epochs(self) -> float:
        """Epochs that were trained here, a teacher's and those of a training that was broken off included."""
        return self._taught_epochs + self.bench.epochs_trained

    @property
    def is_trained(self) -> bool:
        """Whether the trained net is known already."""
        return self.keys.train in self.context.nets or self.context.cache.get("train", self.keys.train) is not None

    def trained(self) -> nn.Module:
        """The trained net, in evaluation mode, on the training's device. Not to be changed."""
        context, key = self.context, self.keys.train
        if key in context.failed:
            raise context.failed[key]
        if key in context.nets:
            self.log.known("train")
            return context.nets[key]
        try:
            context.nets[key] = self._train()
        except Exception as error:
            context.failed[key] = error
            raise
        return context.nets[key]

    def compressed(self) -> nn.Module:
        """A copy of the net that was exported: float32, on the CPU, in evaluation mode."""
        context, key = self.context, self.keys.compress
        if key not in context.nets:  # exported by an earlier job: its steps are deterministic, so they give it again
            trained = self.trained()
            self.log.ran("compress")
            with self.clock.training():
                context.nets[key] = compress(self.bench, trained)
        return copy.deepcopy(context.nets[key]).cpu().float().eval().to(memory_format=torch.contiguous_format)

    def graph(self) -> Entry:
        """The float graph, what is counted on it, and the seconds that it took to get there."""
        context, key = self.context, self.keys.compress
        if key in context.failed:
            raise context.failed[key]
        known = context.cache.get("compress", key)
        if known is None:
            trained = self.trained()
            with context.cache.building("compress", key, context.machine):
                known = context.cache.get("compress", key)
                if known is None:
                    try:
                        return self._compress_and_export(trained)
                    except Exception as error:
                        context.failed[key] = error
                        raise
        self.log.known("train", "compress")
        return known

    def teach(self, recipe: Recipe) -> nn.Module:
        """The teacher of this recipe, trained once for all who share the cache."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            own = NetStages(recipe, teacher.SEED, self.context, Path(folder))
            net = copy.deepcopy(own.trained())
            self.clock.spent += own.clock.spent
            self._taught_epochs += own.spent_epochs
            return teacher.frozen(net, own.bench.precision)

    def _train(self) -> nn.Module:
        context, key = self.context, self.keys.train
        with context.cache.building("train", key, context.machine):
            net = self.bench.build_net()
            entry = context.cache.get("train", key)
            if entry is not None:
                net.load_state_dict(torch.load(entry.file("weights.pt"), map_location="cpu", weights_only=True))
                self.log.known("train")
                return self.bench.precision.place(net).eval()
            context.note("train")
            self.log.ran("train")
            _load_torch()
            with self.clock.training() as seconds:
                net = self.bench.train(net, self._rungs)
            weights = self.folder / "weights.pt"
            content = io.BytesIO()  # torch hides the reason of a write that fails
            torch.save({name: tensor.cpu() for name, tensor in net.state_dict().items()}, content)
            weights.write_bytes(content.getbuffer())
            seen = {"seen": self.bench.watch.seen(), "teachers": self.bench.teachers}
            context.cache.put("train", key, {"seconds": seconds[0], **seen}, {"weights.pt": weights})
            weights.unlink()
        return net

    def _compress_and_export(self, trained: nn.Module) -> Entry:
        context, bench, key = self.context, self.bench, self.keys.compress
        context.note("compress")
        self.log.ran("compress")
        with self.clock.training() as seconds:
            net = compress(bench, trained)
        context.nets[key] = net
        context.machine.step_aside()
        context.note("export")
        params, macs = count(net, bench.input_shape)
        graph = export(net, bench.input_shape, self.folder / GRAPH).path
        before = context.cache.get("train", self.keys.train)
        known: Mapping[str, Any] = before.meta if before else {"seconds": 0.0, "seen": {}, "teachers": {}}
        # A teacher of the loss is asked for again by a fine-tuning, and counts once.
        seen = effective(known["seen"], bench.epochs + bench.fine_tuned, known["teachers"] | bench.teachers)
        meta = {"params": params, "macs": macs, "train_seconds": known["seconds"] + seconds[0], "effective": seen}
        return context.cache.put("compress", key, meta, {GRAPH: graph})


def compress(bench: Bench, net: nn.Module) -> nn.Module:
    """What the compress hooks make of a net, in evaluation mode."""
    torch.manual_seed(bench.stream("compress"))
    for trick in bench.tricks:
        net = trick.compress(net, bench)
    return net.eval()  # a hook may leave it in training mode, where counting would change its batch norms


@functools.cache
def _load_torch() -> None:
    # torch imports its compiler with a process's first optimizer: seconds that are no part of a training.
    torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
