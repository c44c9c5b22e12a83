"""The stopwatch: what loaded deployables cost, as ratios to a yardstick that is timed in the same second.

On the processor the yardstick is the file of the study's plain net, on a GPU a fixed product of matrices there. A
latency is that of a call from outside, copies to a device included; a predictor with `on_device` is timed by the
device's events as well. How the ratio is taken stands in rounds.py.
"""

from __future__ import annotations

import contextlib
import math
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil

from tricksearch.contract import Predictor
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring import gpu
from tricksearch.trial.measuring.rounds import SYSTEM, Clock, Rounds, interval, take_rounds

MIN_BATCHES = 3  # of each further size of the throughput, however slow the net
DEVICE_RUNS = 100  # on the device alone, of all copies together
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Timing:
    """What one deployable costs. Ratios are of a call with a whole batch, to a call of the yardstick."""

    copies: tuple[float, ...]  # the logarithm of the ratio, of each loaded copy
    ms: float  # of a call at that moment: the median over the rounds that count
    yardstick_ms: float  # likewise, of the yardstick
    baseline_ms: float  # likewise, of the plain net's file, which on the processor is the yardstick
    fastest_ms: float  # of the yardstick, at the machine's fastest so far
    p95: float  # of all calls, as a ratio to the yardstick in the same round
    p99: float
    runs: int  # calls that were timed in the rounds that count
    rounds: int  # that count
    disturbed: float  # share of the rounds in which other programs had the processor
    seconds: float  # that the calls of all rounds took, of all files
    throughput: dict[str, float]  # images a second at each further batch size, at that moment
    memory_bytes: int | None = None  # filled in by the runner, which loads the deployable
    device_ms: float | None = None  # of a run on the device alone, images and logits there: the median
    device_p95_ms: float | None = None
    note: str = ""  # what could not be told

    @property
    def ratio(self) -> float:
        """To the yardstick: the mean of the copies, by their logarithms."""
        return math.exp(interval(np.array(self.copies))[0])

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The 95 % interval of the ratio; None where the file could be loaded only once."""
        middle, half = interval(np.array(self.copies))
        return (math.exp(middle - half), math.exp(middle + half)) if math.isfinite(half) else None

    @property
    def reliable(self) -> bool:
        """Whether other programs left the machine alone for most of the rounds."""
        return self.disturbed <= 0.5


@dataclass(frozen=True)
class Loaded:
    """The copies of one file, as they were loaded, and the device of its runtime."""

    predictors: Sequence[Predictor]
    device: str = "cpu"
    threads: int = 1


class Stopwatch:
    """Times loaded files against yardsticks, and remembers how fast the machine was at its best."""

    def __init__(self, clock: Clock = SYSTEM, pinned: Callable[[], AbstractContextManager[bool]] | None = None) -> None:
        """`pinned` holds this thread to the idlest core while it is entered, and tells whether there is a choice."""
        self._clock, self._pinned = clock, pinned or pinned_to_idlest_core
        self._fastest: dict[object, float] = {}
        self._measured = 0

    def time(
        self,
        files: Sequence[Loaded],
        baseline: Sequence[Predictor],
        images: Array,
        settings: LatencySettings,
        fastest_ms: float | None = None,
    ) -> list[Timing]:
        """Time files of one device, together, on batches filled from images float32 (N, C, H, W), N >= 1.

        `baseline` are the loaded copies of the plain net's file. The caller sees to it that the machine is otherwise
        idle, and that every copy has run before. Several files are timed for as many times longer. `fastest_ms` is
        the yardstick's time at the machine's fastest, as far as others know it.
        """
        batch, device = filled(images, settings.batch), files[0].device
        yardstick = [_call(copy, batch) for copy in baseline] if device == "cpu" else [gpu.reference()]
        known_as = (device, len(baseline), settings.batch, settings.threads)
        self._measured += 1
        beside = [] if device == "cpu" else [baseline]
        timed = [*(file.predictors for file in files), *beside]
        count = min(map(len, timed))
        one_thread = device == "cpu" and all(file.threads == 1 for file in files)

        def take() -> Rounds:
            return take_rounds(
                [[_call(copy, batch) for copy in predictors[:count]] for predictors in timed],
                yardstick,
                precision=settings.precision,
                seconds=settings.seconds * len(files),
                block_seconds=settings.block_seconds,
                one_thread=one_thread,
                fastest=min(self._fastest.get(known_as, math.inf), (fastest_ms or math.inf) / 1e3),
                clock=self._clock,
                seed=self._measured,
            )

        tries = [take()]
        if tries[0].mostly_disturbed and one_thread:  # another core may be free
            with self._pinned() as can_choose:
                tries += [take()] if can_choose else []
        rounds = min(tries, key=lambda one: one.disturbed)
        self._fastest[known_as] = rounds.fastest
        copies, spent = rounds.copies(), sum(taken.seconds for one in tries for taken in one.taken)
        plain = float(np.median([(taken.files[-1] if beside else taken.yardstick).median for taken in rounds.kept]))
        return [
            self._timing(rounds, at, tuple(copies[at].tolist()), plain, spent, file, batch, images, settings)
            for at, file in enumerate(files)
        ]

    def _timing(
        self,
        rounds: Rounds,
        at: int,
        copies: tuple[float, ...],
        plain: float,
        spent: float,
        file: Loaded,
        batch: Array,
        images: Array,
        settings: LatencySettings,
    ) -> Timing:
        kept = rounds.kept
        relative = np.concatenate([taken.files[at].calls / taken.yardstick.median for taken in kept])
        inside, note = _on_device(file, batch, self._clock)
        return Timing(
            copies=copies,
            ms=float(np.median([taken.files[at].median for taken in kept])) * 1e3,
            yardstick_ms=float(np.median([taken.yardstick.median for taken in kept])) * 1e3,
            baseline_ms=plain * 1e3,
            fastest_ms=rounds.fastest * 1e3,
            p95=float(np.percentile(relative, 95)),
            p99=float(np.percentile(relative, 99)),
            runs=len(relative),
            rounds=len(kept),
            disturbed=rounds.disturbed,
            seconds=spent,
            throughput={
                str(size): size / self._seconds(file.predictors[0], filled(images, size), settings)
                for size in settings.batches
                if size != settings.batch
            },
            device_ms=float(np.median(inside) * 1e3) if inside is not None else None,
            device_p95_ms=float(np.percentile(inside, 95) * 1e3) if inside is not None else None,
            note=note,
        )

    def _seconds(self, predictor: Predictor, batch: Array, settings: LatencySettings) -> float:
        """Seconds that this batch takes: throughput is a coarser measure than latency."""
        predictor(batch)
        times: list[float] = []
        end = self._clock.now() + 5 * settings.block_seconds
        while len(times) < MIN_BATCHES or self._clock.now() < end:
            start = self._clock.now()
            predictor(batch)
            times.append(self._clock.now() - start)
        return float(np.median(times))


@contextlib.contextmanager
def pinned_to_idlest_core() -> Iterator[bool]:
    """Hold this thread to that of its cores which computed least in the last tenth of a second; False for one core."""
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        yield False
        return
    busy = psutil.cpu_percent(0.1, percpu=True)
    known = [core for core in cores if core < len(busy)]
    try:
        if known:
            os.sched_setaffinity(0, {min(known, key=lambda core: busy[core])})
        yield bool(known)
    finally:
        os.sched_setaffinity(0, cores)


def filled(images: Array, batch: int) -> Array:
    """A batch of the first images, repeated where there are fewer: (N, ...) -> (batch, ...)."""
    return np.resize(images[:batch], (batch, *images.shape[1:]))


def _call(predictor: Predictor, batch: Array) -> Callable[[], object]:
    return lambda: predictor(batch)


def _on_device(file: Loaded, batch: Array, clock: Clock) -> tuple[Array | None, str]:
    """Seconds of runs on the device alone, if the predictor offers that; and why there are none, where it fails."""
    prepares = [predictor.on_device for predictor in file.predictors if hasattr(predictor, "on_device")]
    if not prepares:
        return None, ""
    runs = -(-DEVICE_RUNS // len(prepares))
    try:
        times = []
        for prepare in prepares:
            step = gpu.prepared(prepare, batch) if file.device == "cuda" else prepare(batch)
            for warm in (True, False):
                taken = gpu.timed(step, 5 if warm else runs) if file.device == "cuda" else _timed(step, runs, clock)
            times.append(taken)
    except Exception as error:  # the latency itself does not depend on it
        traceback.print_exc()
        return None, f"no device times: {type(error).__name__}: {error}"[:500]
    return np.concatenate(times), ""


def _timed(step: Callable[[], object], runs: int, clock: Clock) -> Array:
    times = []
    for _ in range(runs):
        start = clock.now()
        step()
        times.append(clock.now() - start)
    return np.array(times)
