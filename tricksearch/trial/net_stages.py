"""The stages of the net: train -> compress and export, each looked up in the cache before it is run."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tricksearch.records.recipe import Recipe
from tricksearch.trial.cache import Entry
from tricksearch.trial.clock import TrainingClock
from tricksearch.trial.compression import exported, portable, timed_compress
from tricksearch.trial.context import JobContext, StageLog
from tricksearch.trial.keys import Keys, kept_keys, stage_keys
from tricksearch.trial.rungs import Rungs
from tricksearch.trial.training import stage
from tricksearch.trial.training.precision import Precision
from tricksearch.trial.training.teacher import taught
from tricksearch.trial.training.workbench import Bench

if TYPE_CHECKING:
    from torch import nn

GRAPH = "model.onnx"


class NetStages:
    """One recipe and one seed, from the untrained net to the float graph."""

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        context: JobContext,
        folder: Path,
        rungs: Rungs | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        """`keys` are those that the recipe's record was measured under: what is kept under them is found."""
        kept = kept_keys(keys or {}, lambda stage, key: context.cache.get(stage, key) is not None)
        self.recipe, self.seed, self.context, self.folder, self._rungs = recipe, seed, context, folder, rungs
        # Without a circle from the workbench back to here, what a variant holds on the device goes with its last use.
        own: NetStages = weakref.proxy(self)

        def teach(asked: Recipe) -> nn.Module:
            return own.teach(asked)

        def exported_net() -> nn.Module:
            return own.compressed()

        self.bench = Bench(
            _anywhere(recipe) if "deploy" in kept else recipe,
            seed,
            context.registry,
            context.data,
            context.machine,
            folder,
            teach=teach,
            net=exported_net,
        )
        test, precision = context.tester is not None, self.bench.precision
        self.keys: Keys = stage_keys(
            recipe, seed, self.bench.tricks, context.data, precision, context.registry, test, kept
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
            context.nets[key], _ = timed_compress(self.bench, self.clock, trained)
        return portable(context.nets[key])

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
        return taught(recipe, self._trained_teacher)

    def _trained_teacher(self, recipe: Recipe, seed: int) -> tuple[nn.Module, Precision]:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            own = NetStages(recipe, seed, self.context, Path(folder))
            net = own.trained()
            self.clock.spent += own.clock.spent
            self._taught_epochs += own.spent_epochs
            return net, own.bench.precision

    def _train(self) -> nn.Module:
        context, key = self.context, self.keys.train
        with context.cache.building("train", key, context.machine):
            entry = context.cache.get("train", key)
            if entry is not None:
                net = stage.load(self.bench, entry.file("weights.pt"))
                self.log.known("train")
                return net
            context.note("train")
            self.log.ran("train")
            weights = self.folder / "weights.pt"
            net, meta = stage.train_and_save(self.bench, self.clock, self._rungs, weights)
            context.cache.put("train", key, meta, {"weights.pt": weights})
            weights.unlink()
        return net

    def _compress_and_export(self, trained: nn.Module) -> Entry:
        context, bench, key = self.context, self.bench, self.keys.compress
        context.note("compress")
        self.log.ran("compress")
        net, seconds = timed_compress(bench, self.clock, trained)
        context.nets[key] = net
        context.machine.step_aside()
        context.note("export")
        before = context.cache.get("train", self.keys.train)
        meta = exported(bench, net, self.folder / GRAPH, before.meta if before else None, seconds)
        return context.cache.put("compress", key, meta, {GRAPH: self.folder / GRAPH})


def _anywhere(recipe: Recipe) -> Recipe:
    """The recipe for a process that trains nothing of it, and may lack the device that it was trained on."""
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"device": "cpu"})})
