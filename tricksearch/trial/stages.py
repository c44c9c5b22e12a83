"""The stages of a trial: train -> compress -> deploy -> score and time, each looked up before it is run.

A variant that differs from another after training alone finds the trained net in the cache; one that is known
to the last stage costs nothing at all.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from tricksearch.contract import Deployable, Registry, Runtime
from tricksearch.trial import teacher
from tricksearch.trial.bench import Bench
from tricksearch.trial.cache import Cache, Entry
from tricksearch.trial.data import DataSet
from tricksearch.trial.effective import effective
from tricksearch.trial.evaluate import score
from tricksearch.trial.export import count, export
from tricksearch.trial.keys import Keys, latency_key, skeleton_of, stage_keys
from tricksearch.trial.machine import Machine
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.rungs import Rungs
from tricksearch.trial.runner import Runner
from tricksearch.trial.runtimes import ONNX_RUNTIME, check_fit
from tricksearch.trial.stopwatch import Timing

GRAPH = "model.onnx"
Note = Callable[[str], None]


@dataclass
class Shop:
    """What the stages of one job share."""

    registry: Registry
    data: DataSet
    cache: Cache
    machine: Machine
    runner: Runner
    note: Note = lambda text: None
    tester: Runner | None = None  # where the test split is read too: its images
    fresh: int | None = None  # the number of the trial, where it takes its latencies anew
    nets: dict[str, nn.Module] = field(default_factory=dict)  # of this job, by the key of their stage
    failed: dict[str, Exception] = field(default_factory=dict)  # likewise: what fails once fails for each variant


class Stages:
    """One recipe and one seed, stage by stage."""

    def __init__(self, recipe: Recipe, seed: int, shop: Shop, folder: Path, rungs: Rungs | None = None) -> None:
        self.recipe, self.seed, self._shop, self._folder, self._rungs = recipe, seed, shop, folder, rungs
        self.bench = Bench(
            recipe, seed, shop.registry, shop.data, shop.machine, folder, teach=self._teach, net=self.compressed_net
        )
        test = shop.tester is not None
        self.keys: Keys = stage_keys(
            recipe, seed, self.bench.tricks, shop.data, self.bench.precision, shop.registry, test
        )
        self._stood: Deployed | None = None
        self._run_by: Runtime | None = None
        self._ran: set[str] = set()
        self._known: dict[str, None] = {}
        self._taught_epochs = 0.0
        self.spent_seconds = 0.0  # of training that was run here, a teacher's and looks at rungs included
        self._since = 0.0  # when the last training began, by `_clock`

    @property
    def spent_epochs(self) -> float:
        """Epochs that were trained here, a teacher's and those of a training that was broken off included."""
        return self._taught_epochs + self.bench.epochs_trained

    def measures(self) -> dict[str, Any]:
        """Every measure of the deployable, as a record names them. Raises TrialError and what a stage may raise."""
        machine = self._shop.machine
        deployed = self.deployed()
        scored = self._scored(deployed)
        machine.step_aside()
        timed = self._timed(deployed.deployable, deployed.runtime, deployed.meta["skeleton"])
        counted = {name: deployed.meta[name] for name in ("params", "macs", "file_bytes", "train_seconds", "effective")}
        return {**scored, **timed, **counted, **self._tested(deployed)}

    @property
    def trained(self) -> bool:
        """Whether the trained net is known already."""
        return self.keys.train in self._shop.nets or self._shop.cache.get("train", self.keys.train) is not None

    @property
    def training_seconds(self) -> float:
        """What the training that is under way has taken so far, as it counts for `train_seconds`."""
        return self._clock() - self._since

    @property
    def spent_so_far(self) -> float:
        """What `spent_seconds` would be if the training that is under way ended now."""
        return self.spent_seconds + self.training_seconds + self.bench.looked_seconds

    def foreseen(self) -> dict[str, Any] | None:
        """The measures that the shape of the graph decides, from an untrained net; None where training decides it.

        Raises NotApplicable and the like where the trained net would fail in the same way.
        """
        if not all(trick.foreseeable() for trick in self.bench.tricks):
            return None
        if self._shop.cache.get("deploy", self.keys.deploy) is not None:
            return None  # the file itself is there
        self._shop.note("foresee")
        try:
            return self._foresee()
        except _NotForeseeable:
            return None

    def _foresee(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            bench = _DryBench(
                self.recipe,
                self.seed,
                self._shop.registry,
                self._shop.data,
                self._shop.machine,
                Path(folder),
                teach=self._teach,
                net=lambda: copy.deepcopy(net).cpu().float(),
            )
            net = self._compress(bench, bench.precision.place(_stirred(bench.build_net())).eval())
            params, macs = count(net, bench.input_shape)
            deployable, skeleton = self._deploy(bench, export(net, bench.input_shape, bench.folder / GRAPH))
            timed = self._timed(deployable, self._runtime(), skeleton)
            size = sum(file.stat().st_size for file in deployable.files)
        return {**timed, "params": params, "macs": macs, "file_bytes": size}

    def trained_net(self) -> nn.Module:
        """The trained net, in evaluation mode, on the training's device. Not to be changed."""
        shop, key = self._shop, self.keys.train
        if key in shop.failed:
            raise shop.failed[key]
        if key in shop.nets:
            self._found("train")
            return shop.nets[key]
        try:
            shop.nets[key] = self._train()
        except Exception as error:
            shop.failed[key] = error
            raise
        return shop.nets[key]

    def compressed_net(self) -> nn.Module:
        """A copy of the net that was exported: float32, on the CPU, in evaluation mode."""
        shop, key = self._shop, self.keys.compress
        if key not in shop.nets:  # exported by an earlier job: its steps are deterministic, so they give it again
            trained = self.trained_net()
            self._ran.add("compress")
            with self._spending():
                shop.nets[key] = self._compress(self.bench, trained)
        return copy.deepcopy(shop.nets[key]).cpu().float().eval().to(memory_format=torch.contiguous_format)

    def _train(self) -> nn.Module:
        shop, key = self._shop, self.keys.train
        with shop.cache.building("train", key, shop.machine):
            net = self.bench.build_net()
            entry = shop.cache.get("train", key)
            if entry is not None:
                net.load_state_dict(torch.load(entry.file("weights.pt"), map_location="cpu", weights_only=True))
                self._found("train")
                return self.bench.precision.place(net).eval()
            shop.note("train")
            self._ran.add("train")
            _load_torch()
            with self._spending() as seconds:
                net = self.bench.train(net, self._rungs)
            weights = self._folder / "weights.pt"
            content = io.BytesIO()  # torch hides the reason of a write that fails
            torch.save({name: tensor.cpu() for name, tensor in net.state_dict().items()}, content)
            weights.write_bytes(content.getbuffer())
            seen = {"seen": self.bench.watch.seen(), "teachers": self.bench.teachers}
            shop.cache.put("train", key, {"seconds": seconds[0], **seen}, {"weights.pt": weights})
            weights.unlink()
        return net

    def _compressed(self) -> Entry:
        """The float graph, what is counted on it, and the seconds that it took to get there."""
        shop, key = self._shop, self.keys.compress
        if key in shop.failed:
            raise shop.failed[key]
        known = shop.cache.get("compress", key)
        if known is None:
            trained = self.trained_net()
            with shop.cache.building("compress", key, shop.machine):
                known = shop.cache.get("compress", key)
                if known is None:
                    try:
                        return self._compress_and_export(trained)
                    except Exception as error:
                        shop.failed[key] = error
                        raise
        self._found("train", "compress")
        return known

    def _compress_and_export(self, trained: nn.Module) -> Entry:
        shop, bench, key = self._shop, self.bench, self.keys.compress
        shop.note("compress")
        self._ran.add("compress")
        with self._spending() as seconds:
            net = self._compress(bench, trained)
        shop.nets[key] = net
        shop.machine.step_aside()
        shop.note("export")
        params, macs = count(net, bench.input_shape)
        graph = export(net, bench.input_shape, self._folder / GRAPH).path
        before = shop.cache.get("train", self.keys.train)
        known: Mapping[str, Any] = before.meta if before else {"seconds": 0.0, "seen": {}, "teachers": {}}
        # A teacher of the loss is asked for again by a fine-tuning, and counts once.
        seen = effective(known["seen"], bench.epochs + bench.fine_tuned, known["teachers"] | bench.teachers)
        meta = {"params": params, "macs": macs, "train_seconds": known["seconds"] + seconds[0], "effective": seen}
        return shop.cache.put("compress", key, meta, {GRAPH: graph})

    @staticmethod
    def _compress(bench: Bench, net: nn.Module) -> nn.Module:
        torch.manual_seed(bench.stream("compress"))
        for trick in bench.tricks:
            net = trick.compress(net, bench)
        return net.eval()  # a hook may leave it in training mode, where counting would change its batch norms

    def deployed(self) -> Deployed:
        """The deployable, found or made, and what runs it."""
        if self._stood is None:
            self._stood = self._find_or_deploy()
        return self._stood

    def _find_or_deploy(self) -> Deployed:
        shop, key = self._shop, self.keys.deploy
        known = shop.cache.get("deploy", key)
        if known is None:
            made = self._compressed()
            with shop.cache.building("deploy", key, shop.machine):
                known = shop.cache.get("deploy", key) or self._deploy_and_store(made)
        else:
            self._found("train", "compress", "deploy")
        meta = known.meta
        deployable = Deployable(
            known.file(meta["path"]),
            tuple(known.file(name) for name in meta["beside"]),
            meta["format"],
            meta["precision"],
            meta["input"],
        )
        return Deployed(deployable, self._runtime(), meta)

    def _runtime(self) -> Runtime:
        if self._run_by is None:
            self._run_by = ONNX_RUNTIME
            for trick in self.bench.tricks:
                self._run_by = trick.runtime(self._run_by, self.bench)
        return self._run_by

    def _deploy_and_store(self, made: Entry) -> Entry:
        shop = self._shop
        shop.machine.step_aside()
        shop.note("deploy")
        self._ran.add("deploy")
        graph = self._folder / GRAPH
        shutil.copyfile(made.file(GRAPH), graph)
        deployable, skeleton = self._deploy(self.bench, Deployable(graph))
        plain = {name: value for name, value in asdict(deployable).items() if name not in ("path", "beside")}
        meta = {**plain, **made.meta} | {
            "path": deployable.path.name,
            "beside": [file.name for file in deployable.beside],
            "file_bytes": sum(file.stat().st_size for file in deployable.files),
            "skeleton": skeleton,
        }
        return shop.cache.put("deploy", self.keys.deploy, meta, {file.name: file for file in deployable.files})

    def _deploy(self, bench: Bench, deployable: Deployable) -> tuple[Deployable, str]:
        """The deployable, and the skeleton of the last ONNX graph on the way to it."""
        graph = deployable.path
        for trick in bench.tricks:
            deployable = trick.deploy(deployable, bench)
            graph = deployable.path if deployable.format == "onnx" else graph
        check_fit(self._runtime(), deployable)
        return deployable, skeleton_of(graph)

    def _scored(self, deployed: Deployed) -> dict[str, Any]:
        meta = self._score(deployed, self.keys.score, self._shop.runner, "validation")
        return {"accuracy": meta["accuracy"], "f1": meta["f1"], "validation_images": meta["images"]}

    def _tested(self, deployed: Deployed) -> dict[str, Any]:
        if self._shop.tester is None or self.keys.test is None:
            return {}
        meta = self._score(deployed, self.keys.test, self._shop.tester, "test")
        return {"test_accuracy": meta["accuracy"], "test_images": meta["images"]}

    def _score(
        self, deployed: Deployed, key: str, runner: Runner, split: Literal["validation", "test"]
    ) -> Mapping[str, Any]:
        shop = self._shop
        known = shop.cache.get("score", key)
        if known is None:
            shop.note("measure" if split == "validation" else "test")
            self._ran.add("score")
            runner.load(deployed.runtime, deployed.deployable, self.recipe.train.threads)
            images = shop.data.validation if split == "validation" else shop.data.test
            scores = score(runner.logits, images, step_aside=shop.machine.step_aside)
            measured = {"accuracy": scores.accuracy, "f1": scores.f1, "images": scores.n}
            known = shop.cache.put("score", key, measured)
        else:
            self._found("score")
        return known.meta

    def _timed(self, deployable: Deployable, runtime: Runtime, skeleton: str) -> dict[str, Any]:
        shop, settings = self._shop, self.recipe.latency
        nonce = None if shop.fresh is None else [self.seed, shop.fresh]  # the same where a trial is run again
        key = latency_key(self.recipe, deployable, skeleton, self.bench.tricks, runtime, nonce)
        with shop.cache.building("latency", key, shop.machine):
            known = shop.cache.get("latency", key)
            if known is None:
                shop.note("time")
                self._ran.add("latency")
                shop.runner.load(runtime, deployable, settings.threads)
                with shop.machine.alone():
                    timing = shop.runner.time(settings)
                measured = _measures_of(timing)
                if timing.steady:  # what a restless machine gave is not handed on to other nets
                    shop.cache.put("latency", key, measured)
                return measured
        self._found("latency")
        return dict(known.meta)

    def _teach(self, recipe: Recipe) -> nn.Module:
        """The teacher of this recipe, trained once for all who share the cache."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            own = Stages(recipe, teacher.SEED, self._shop, Path(folder))
            net = copy.deepcopy(own.trained_net())
            self.spent_seconds += own.spent_seconds
            self._taught_epochs += own.spent_epochs
            return teacher.frozen(net, own.bench.precision)

    @property
    def reused(self) -> list[str]:
        """The stages that were found, not run."""
        return [stage for stage in self._known if stage not in self._ran]

    def _found(self, *stages: str) -> None:
        self._known |= dict.fromkeys(stages)

    @contextlib.contextmanager
    def _spending(self) -> Iterator[list[float]]:
        """Add the seconds of a training to what was spent, also where it fails; yields a list that gets them.

        Waiting for others' stopwatches is not in them, nor is getting a teacher, which has seconds of its own, nor
        are looks at rungs, which are spent all the same.
        """
        bench, taken = self.bench, [0.0]
        looked, self._since = bench.looked_seconds, self._clock()
        try:
            yield taken
        finally:
            if bench.device.type == "cuda":
                torch.cuda.synchronize(bench.device)
            taken[0] = self.training_seconds
            self.spent_seconds += taken[0] + bench.looked_seconds - looked

    def _clock(self) -> float:
        """Seconds on a clock that stands still while the trial does something else than to train."""
        bench = self.bench
        return time.perf_counter() - bench.machine.waited - bench.teacher_seconds - bench.looked_seconds


def _measures_of(timing: Timing) -> dict[str, Any]:
    return {
        "latency_ms": timing.median_ms,
        "latency_p95_ms": timing.p95_ms,
        "latency_p99_ms": timing.p99_ms,
        "latency_runs": timing.runs,
        "latency_spread": timing.spread,
        "latency_drift": timing.drift,
        "latency_note": timing.note,
        "device_ms": timing.device_ms,
        "device_p95_ms": timing.device_p95_ms,
        "throughput": max(timing.throughput.values()),
        "throughputs": timing.throughput,
        "memory_bytes": timing.memory_bytes,
    }


@dataclass(frozen=True)
class Deployed:
    """A deployable in the cache, its runtime, and what is known of it: file_bytes, skeleton and the like."""

    deployable: Deployable
    runtime: Runtime
    meta: Mapping[str, Any]


class _NotForeseeable(Exception):
    pass


class _DryBench(Bench):
    """A workbench that trains nothing: what matters is the shape that comes out."""

    def fine_tune(self, net: nn.Module, epochs: int, lr: float) -> nn.Module:
        """The net as it is."""
        return net.eval()

    def teacher(self, spec: str | dict[str, Any], epochs: float) -> nn.Module:
        """None is needed without training."""
        raise _NotForeseeable


def _stirred(net: nn.Module) -> nn.Module:
    """The untrained net with no two tensors alike: the exporter would store equal ones, such as zeros, only once."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.01 * torch.rand(tensor.shape, generator=source).to(tensor))
    return net


@functools.cache
def _load_torch() -> None:
    # torch imports its compiler with a process's first optimizer: seconds that are no part of a training.
    torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
