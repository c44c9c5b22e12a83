"""The parts of the benchmark of the stopwatch: each measures for some seconds and returns figures as plain JSON."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.support import timed_files
from benchmarks.support.beside import halted, one_busy_core, trainers
from benchmarks.support.ways_of_timing import loaded, onnxruntime_test_ms, plain_loop, rounds
from tricksearch.contract import Deployable
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring.latency import timed_alone
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME
from tricksearch.trial.measuring.stopwatch import Timing

SETTINGS = LatencySettings()
ROUNDS = 60  # of a loading, for the ways of timing that are compared with the stopwatch
SHAPES = ((16, 32, 64), (24, 48, 96), (32, 64, 128), (48, 96, 192), (64, 128, 256))
KINDS = (timed_files.plain, timed_files.int8, timed_files.with_se)
RENEWED = 5  # repeats after which a new runner loads the plain net's file again: its copies err together
CONDITIONS = ("idle", "lock", "no lock")
PASSES = 2
Figures = dict[str, Any]


class NotingMachine(Machine):
    """A hold on the machine that notes for how long it was alone there."""

    held = 0.0  # seconds, the last time

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """The whole machine."""
        with super().alone():
            start = time.perf_counter()
            try:
                yield
            finally:
                self.held = time.perf_counter() - start


@contextlib.contextmanager
def _tools() -> Iterator[tuple[Runner, NotingMachine]]:
    images = np.random.default_rng(timed_files.SEED).integers(0, 256, (SETTINGS.batch, *timed_files.SHAPE), np.uint8)
    with contextlib.closing(NotingMachine()) as machine, contextlib.closing(Runner(images)) as runner:
        yield runner, machine


def _image() -> np.ndarray[Any, Any]:
    return np.random.default_rng(timed_files.SEED).random((1, *timed_files.SHAPE), np.float32)


def _timed(runner: Runner, machine: Machine, file: Deployable, baseline: Deployable) -> Timing:
    return timed_alone(runner, machine, [(ONNX_RUNTIME, file)], baseline, SETTINGS)[0]


def ranges(folder: Path, seconds: float, repeats: int) -> Figures:
    """Rounds of the plain file, the same again and INT8, one fresh loading after another, and the stopwatch between.

    Returns `rounds` (loadings, ROUNDS, 3) in seconds, and the stopwatch's ratios `itself` and `int8`.
    """
    end, base, int8 = time.monotonic() + seconds, timed_files.plain(folder), timed_files.int8(folder)
    taken, ours = list[Any](), dict[str, list[float]](itself=[], int8=[])
    while len(taken) < 2 or (time.monotonic() < end and len(taken) < repeats):
        with _tools() as (runner, machine):
            with machine.alone():
                taken.append(rounds([loaded(file, _image()) for file in (base, base, int8)], ROUNDS).tolist())
            ours["itself"].append(_timed(runner, machine, base, base).ratio)
            ours["int8"].append(_timed(runner, machine, int8, base).ratio)
    return {"rounds": taken, **ours}


def itself(folder: Path, seconds: float, repeats: int) -> Figures:
    """The plain file against itself and against a copy with other names, by the stopwatch, by a loop, by a tool.

    Returns for `itself` and `copy` the ratios with the ends of their intervals, None where a way has none, (N, 3), by
    way; and `disturbed`, the share of the stopwatch's measurements that it marked as such.
    """
    end, base = time.monotonic() + seconds, timed_files.plain(folder)
    files = {"itself": base, "copy": timed_files.renamed(base, folder / "renamed.onnx")}
    figures: Figures = {name: {"stopwatch": [], "loop": [], "tool": []} for name in files}
    marked = []
    for start in range(0, repeats, RENEWED):
        with _tools() as (runner, machine):
            for _ in range(start, min(start + RENEWED, repeats)):
                for name, file in files.items():
                    timing = _timed(runner, machine, file, base)
                    marked.append(not timing.reliable)
                    figures[name]["stopwatch"].append((timing.ratio, *(timing.bounds or (None, None))))
                    with machine.alone():
                        figures[name]["loop"].append(plain_loop(loaded(file, _image()), loaded(base, _image())))
                        first, second = onnxruntime_test_ms(base.path), onnxruntime_test_ms(file.path)
                    figures[name]["tool"].append((second / first, None, None))
                if time.monotonic() > end:
                    return figures | {"disturbed": float(np.mean(marked))}
    return figures | {"disturbed": float(np.mean(marked))}


def busy(folder: Path, seconds: float, repeats: int) -> Figures:
    """The same on one core, with a loop on that core that never rests."""
    with one_busy_core():
        return itself(folder, seconds, repeats)


def cost(folder: Path, seconds: float, repeats: int) -> Figures:
    """What the latency of a new shape costs: `held`, seconds alone on the machine; `timed`, of its calls; `wall`; ms.

    At most `repeats` nets, and no more than there are.
    """
    end, base = time.monotonic() + seconds, timed_files.plain(folder)
    figures: Figures = {"held": [], "timed": [], "wall": [], "ms": []}
    with _tools() as (runner, machine):
        _timed(runner, machine, base, base)  # a run starts its runner and loads the plain net's file once
        for widths, kind in itertools.islice(itertools.product(SHAPES, KINDS), repeats):
            file = kind(folder, widths)
            start = time.perf_counter()
            timing = _timed(runner, machine, file, base)
            figures["wall"].append(time.perf_counter() - start)
            figures["held"].append(machine.held)
            figures["timed"].append(timing.seconds)
            figures["ms"].append(timing.ms)
            if time.monotonic() > end:
                break
    return figures


def training(folder: Path, seconds: float, repeats: int) -> Figures:
    """Nets beside processes that train: idle, through the lock, and without it, within seconds of each other.

    Returns by condition the `ratio`, `ms`, `disturbed` and seconds `waited` for the lock, (N, PASSES, 4).
    """
    end, base = time.monotonic() + seconds, timed_files.plain(folder)
    figures: Figures = {name: [] for name in CONDITIONS}
    with _tools() as (runner, machine), trainers(folder) as beside:
        for widths, kind in itertools.islice(itertools.product(SHAPES, KINDS), repeats):
            runner.load_to_time([(ONNX_RUNTIME, kind(folder, widths))], base, SETTINGS)
            net: Figures = {name: [] for name in CONDITIONS}
            for _ in range(PASSES):
                for name in CONDITIONS:
                    with _under(name, machine, beside) as waited:
                        (timing,) = runner.time(SETTINGS)
                    net[name].append((timing.ratio, timing.ms, timing.disturbed, waited))
            for name in CONDITIONS:
                figures[name].append(net[name])
            if time.monotonic() > end:
                break
    return figures | {"trials": len([*folder.glob("trial-*")])}


@contextlib.contextmanager
def _under(name: str, machine: Machine, beside: list[psutil.Process]) -> Iterator[float]:
    """One of CONDITIONS; yields the seconds that the lock was waited for."""
    before = machine.waited
    if name == "lock":
        with machine.alone():
            yield machine.waited - before
    elif name == "idle":
        with halted(beside):
            yield 0.0
    else:
        yield 0.0


# The share of the time that a part may take, after which it ends with what it has.
PARTS: dict[str, tuple[Callable[[Path, float, int], Figures], float]] = {
    "ranges": (ranges, 0.18),
    "itself": (itself, 0.36),
    "busy": (busy, 0.25),
    "cost": (cost, 0.07),
    "training": (training, 0.14),
}
