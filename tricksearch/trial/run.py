"""A trial: one recipe and one seed in, one record out.

data -> net -> train -> compress -> export -> deploy -> accuracy of the file in its runtime -> its latency, alone
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tricksearch.contract import InputError, Registry, Runtime, TrialError, discover
from tricksearch.trial.bench import Bench
from tricksearch.trial.data import DataSet, load_data
from tricksearch.trial.evaluate import evaluate
from tricksearch.trial.export import export, onnx_runtime
from tricksearch.trial.hardware import hardware, versions
from tricksearch.trial.machine import Machine
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.record import FINISHED, Record
from tricksearch.trial.settings import DataSettings
from tricksearch.trial.stopwatch import time_latency
from tricksearch.trial.train import to_unit

log = logging.getLogger(__name__)
Note = Callable[[str], None]


def run_trial(
    recipe: Recipe,
    seed: int,
    *,
    teachers: Path,
    number: int = 0,
    phase: str = "search",
    note: Note = lambda text: None,
    reraise: tuple[type[Exception], ...] = (),
) -> Record:
    """Run a trial. Whatever befalls it becomes a record with its reason; only an interrupt passes through.

    `teachers` is the folder of the study's shared teachers; `note` hears which stage begins; errors of the kinds in
    `reraise` come out as they were raised. Raises InputError where no trial of this study could run here: its data
    or its plugins are not there, or the disk is full.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    status, reason, measured = FINISHED, "", {}
    torch.set_num_threads(recipe.train.threads)
    machine = Machine()
    try:
        with machine.shared():
            registry, data = _tricks(recipe.plugins), cached_data(recipe.data)
            try:
                measured = _measure(recipe, seed, registry, data, machine, teachers, note)
            except reraise:
                raise
            except Exception as error:
                _refuse_full_disk(error)
                log.exception("trial %d", number)
                status, reason = _status(error)
    finally:
        machine.close()
    return Record(
        trial=number,
        phase=phase,
        status=status,
        reason=reason,
        seed=seed,
        recipe=recipe.model_dump(mode="json"),
        started=started.isoformat(timespec="seconds"),
        wall_seconds=round(time.perf_counter() - clock, 3),
        hardware=hardware(),
        versions=versions(),
        **measured,
    )


def _measure(
    recipe: Recipe, seed: int, registry: Registry, data: DataSet, machine: Machine, teachers: Path, note: Note
) -> dict[str, Any]:
    try:
        with tempfile.TemporaryDirectory(prefix="tricksearch-") as folder:
            bench = Bench(recipe, seed, registry, data, machine, Path(folder), teachers)
            return _stages(bench, data, note)
    finally:
        if torch.cuda.is_available():
            with contextlib.suppress(RuntimeError):  # after a fault of the device it would hide the fault itself
                torch.cuda.empty_cache()


def _refuse_full_disk(error: Exception) -> None:
    # Recorded as this recipe's failure, it would use up the study: the next trial would fail in the same way.
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        raise InputError(
            f"the disk is full: {error}",
            remedy="free some space and run the same command again; what is stored is kept",
        ) from error


def _stages(bench: Bench, data: DataSet, note: Note) -> dict[str, Any]:
    recipe, machine = bench.recipe, bench.machine
    _load_torch()
    note("train")
    start, waited = time.perf_counter(), machine.waited
    net = bench.train(bench.build_net())
    note("compress")
    for trick in bench.tricks:
        net = trick.compress(net, bench)
    net = net.eval()  # a hook may leave it in training mode, where counting would change its batch norms
    if bench.device.type == "cuda":
        torch.cuda.synchronize(bench.device)
    train_seconds = time.perf_counter() - start - (machine.waited - waited) - bench.teacher_seconds

    machine.step_aside()
    note("export")
    params, macs = count(net, bench.input_shape)
    deployable = export(net, bench.input_shape, bench.folder / "model.onnx")
    machine.step_aside()
    note("deploy")
    runtime: Runtime = onnx_runtime
    for trick in bench.tricks:
        deployable = trick.deploy(deployable, bench)
        runtime = trick.runtime(runtime, bench)

    machine.step_aside()
    note("measure")
    scores = evaluate(runtime(deployable, recipe.train.threads), data.validation, step_aside=machine.step_aside)
    predictor = runtime(deployable, recipe.latency.threads)
    pixels = data.validation.pixels[: recipe.latency.batch]
    pixels = pixels.repeat(-(-recipe.latency.batch // len(pixels)), 1, 1, 1)[: recipe.latency.batch]
    with machine.alone():
        timing = time_latency(predictor, to_unit(pixels).numpy(), recipe.latency)
    return {
        "accuracy": scores.accuracy,
        "f1": scores.f1,
        "validation_images": scores.n,
        "latency_ms": timing.median_ms,
        "latency_p95_ms": timing.p95_ms,
        "latency_runs": timing.runs,
        "latency_drift": timing.drift,
        "params": params,
        "macs": macs,
        "file_bytes": deployable.path.stat().st_size,
        "train_seconds": train_seconds,
    }


@functools.cache
def _load_torch() -> None:
    # torch imports its compiler with a process's first optimizer: seconds that are no part of a training.
    torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)


def count(net: nn.Module, input_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Parameters, and multiply-accumulates for one image as torch's FlopCounterMode counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    device = next(net.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, *input_shape, device=device))
    return sum(parameter.numel() for parameter in net.parameters()), counter.get_total_flops() // 2


def _status(error: Exception) -> tuple[str, str]:
    """The status of a trial that ended so, and the reason in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, TrialError):
        return error.status, text
    if isinstance(error, InputError):
        return "failed", text
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text
    return "out_of_memory" if memory else "failed", f"{type(error).__name__}: {text}"[:500]


_loaded: dict[DataSettings, DataSet] = {}


def cached_data(settings: DataSettings, progress: Note | None = None) -> DataSet:
    """A data set, kept for the next trial of this process; `progress` hears of a download and the like."""
    if settings not in _loaded:
        _loaded.clear()  # one at a time: a data set may be most of the memory
        _loaded[settings] = load_data(settings, progress)
    return _loaded[settings]


@functools.cache
def _tricks(folders: tuple[str, ...]) -> Registry:
    return discover(folders)
