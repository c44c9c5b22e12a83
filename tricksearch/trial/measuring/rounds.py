"""Rounds: short blocks of calls of several files in turn, so that what is compared was timed in the same second.

On a shared machine the speed moves by half from one minute to the next, and neither CPU time nor steal time shows it.
Two files whose blocks alternate every few milliseconds meet the same machine, so the ratio of their times holds. What
is left differs from one loading of a file to the next, by some percent for small nets, since the memory lies elsewhere:
each file is loaded several times, and the interval of the ratio is that of the mean over these copies. See
docs/measuring.md.
"""

from __future__ import annotations

import functools
import itertools
import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
Call = Callable[[], object]

CYCLES = 3  # of rounds over all copies, at least
ENOUGH = 6  # copies from which rounds may end early: with fewer, a small spread is often luck, which ending would pick
CONFIDENCE = 0.95
OWN_TIME = 0.95  # of a block on one thread that has to be time of this process on the processor
SLOW = 1.15  # times the yardstick's time at the machine's fastest, above which a round is of another state
COLD = 0.1  # of a block: a first call that is shorter only fills the processor's caches, and is not counted


class Clock(Protocol):
    """What tells of time, and of how much of it the process was given."""

    def now(self) -> float:
        """Seconds."""

    def processor(self) -> float:
        """Seconds that this process has computed, all its threads."""

    def interruptions(self) -> int:
        """How often the system took the processor from this process."""


class SystemClock:
    """The machine's."""

    now = staticmethod(time.perf_counter)
    processor = staticmethod(time.process_time)

    @staticmethod
    def interruptions() -> int:
        """Involuntary context switches."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


SYSTEM = SystemClock()


@dataclass(frozen=True)
class Block:
    """The calls of one file in one round, in seconds."""

    calls: Array
    processor: float  # what all of them computed
    disturbed: bool

    @functools.cached_property
    def median(self) -> float:
        """Of the calls."""
        return float(np.median(self.calls))


@dataclass(frozen=True)
class Round:
    """A block of each file, all of one copy, and one of the yardstick."""

    copy: int
    yardstick: Block
    files: tuple[Block, ...]

    @property
    def disturbed(self) -> bool:
        """Whether another program had the processor in one of the blocks."""
        return any(block.disturbed for block in (self.yardstick, *self.files))

    @property
    def seconds(self) -> float:
        """That the calls of its blocks took."""
        return float(sum(block.calls.sum() for block in (self.yardstick, *self.files)))


@dataclass
class Rounds:
    """All rounds of one measurement. `fastest` is the yardstick's time, seconds, at the machine's fastest so far."""

    fastest: float = math.inf
    taken: list[Round] = field(default_factory=list)
    one_thread: bool = True  # of which the time on the processor is the time that its calls take

    @property
    def kept(self) -> list[Round]:
        """The rounds that count: undisturbed, and of the machine's fastest state, where enough of them are.

        Where most were disturbed, they are all.
        """
        calm = self._calm
        if self.mostly_disturbed:
            return self.taken
        return [taken for taken in calm if self._is_fast(taken)] if self.is_fast else calm

    @property
    def disturbed(self) -> float:
        """The share of the rounds that were disturbed."""
        return 1 - len(self._calm) / len(self.taken)

    @property
    def mostly_disturbed(self) -> bool:
        """Whether more than half of the rounds were disturbed."""
        return 2 * len(self._calm) < len(self.taken)

    @property
    def is_fast(self) -> bool:
        """Whether enough rounds were of the machine's fastest state: a quarter of them, on half of the copies."""
        fast = [taken for taken in self._calm if self._is_fast(taken)]
        copies = {taken.copy for taken in self.taken}
        return 4 * len(fast) >= len(self._calm) > 0 and 2 * len({taken.copy for taken in fast}) >= len(copies)

    @property
    def _calm(self) -> list[Round]:
        return [taken for taken in self.taken if not taken.disturbed]

    def _is_fast(self, taken: Round) -> bool:
        return taken.yardstick.median <= SLOW * self.fastest

    def copies(self) -> Array:
        """The logarithm of each file's time over the yardstick's, for each copy the median of its rounds (files, K).

        Where most rounds of one thread were disturbed, it is the time on the processor that is compared: calls that
        wait for the processor take no more of it.
        """
        waited = self.mostly_disturbed and self.one_thread

        def seconds(block: Block) -> float:
            return block.processor / len(block.calls) if waited else block.median

        by_copy: dict[int, list[list[float]]] = {}
        for taken in self.kept:
            own = math.log(max(seconds(taken.yardstick), 1e-12))
            by_copy.setdefault(taken.copy, []).append([math.log(max(seconds(b), 1e-12)) - own for b in taken.files])
        return np.array([np.median(by_copy[copy], axis=0) for copy in sorted(by_copy)]).T


def interval(copies: Array) -> tuple[float, float]:
    """The mean of copies' values (K,), and half of its 95 % interval (Student's t); infinite for one copy."""
    if len(copies) < 2:
        return float(copies.mean()), math.inf
    from scipy import special

    error = float(copies.std(ddof=1)) / math.sqrt(len(copies))
    return float(copies.mean()), float(special.stdtrit(len(copies) - 1, 0.5 + CONFIDENCE / 2)) * error


def take_rounds(
    files: Sequence[Sequence[Call]],
    yardstick: Sequence[Call],
    *,
    precision: float,
    seconds: float,
    block_seconds: float,
    one_thread: bool = True,
    fastest: float = math.inf,
    clock: Clock = SYSTEM,
    seed: int = 0,
) -> Rounds:
    """Time the copies of each file, (files, K), in turn with the yardstick's, until their ratios are known.

    That is when the interval of each ratio, and of each difference between two files that follow each other, is within
    `precision`, or shows which of the two is faster; or when `seconds` are over. With `one_thread`, a file computes in
    one thread on the processor, so that less of its own time shows that others had it.
    """
    draw, rounds, count = np.random.default_rng(seed), Rounds(fastest, one_thread=one_thread), len(files[0])
    end = clock.now() + seconds
    for cycle in range(1, 10**6):
        for copy in draw.permutation(count):
            calls = [copies[copy] for copies in files] + [yardstick[_beside(int(copy), count, len(yardstick), draw)]]
            blocks: dict[int, Block] = {}
            for place in draw.permutation(len(calls)):
                blocks[int(place)] = _block(calls[place], block_seconds, one_thread, clock)
            own = tuple(blocks[place] for place in range(len(files)))
            rounds.taken.append(Round(int(copy), blocks[len(files)], own))
        rounds.fastest = min(fastest, _fast(rounds.taken))
        if (clock.now() >= end and cycle > 1) or (cycle >= CYCLES and _known(rounds, precision)):
            return rounds
    raise AssertionError("the clock stands still")


def _beside(copy: int, copies: int, yardsticks: int, draw: np.random.Generator) -> int:
    """The copy of the yardstick beside which a copy of the files is timed: one of its own, as far as there are as many.

    If all shared them, what the yardstick's loadings add would be the same in every copy, and no interval would see it.
    """
    own = range(copy % yardsticks, yardsticks, copies)
    return own[int(draw.integers(len(own)))]


def _block(call: Call, seconds: float, one_thread: bool, clock: Clock) -> Block:
    interruptions, processor = clock.interruptions(), clock.processor()
    begin = clock.now()
    call()
    last = clock.now()
    calls = [last - begin] if last - begin > COLD * seconds else []
    done = 1
    while not calls or last < begin + seconds:
        start = clock.now()
        call()
        last = clock.now()
        calls.append(last - start)
        done += 1
    computed = clock.processor() - processor
    interrupted = clock.interruptions() > interruptions
    disturbed = computed < OWN_TIME * (last - begin) if one_thread else interrupted
    return Block(np.array(calls), computed * len(calls) / done, disturbed)


def _fast(taken: Sequence[Round]) -> float:
    """The yardstick's time when the machine is fast: the fifth part of its blocks, rather than one that was lucky."""
    calm = [block.median for block in (of_round.yardstick for of_round in taken) if not block.disturbed]
    return float(np.quantile(calm, 0.2)) if calm else math.inf


def _known(rounds: Rounds, precision: float) -> bool:
    if rounds.mostly_disturbed or not rounds.is_fast:
        return False  # it may get better
    if len({taken.copy for taken in rounds.taken}) < ENOUGH:
        return False
    copies, wide = rounds.copies(), math.log1p(precision)
    ratios = [interval(row) for row in copies]
    if any(half > wide for _, half in ratios):
        return False
    order = np.argsort([middle for middle, _ in ratios])
    steps = [interval(copies[after] - copies[before]) for before, after in itertools.pairwise(order)]
    return all(half <= wide or middle > half for middle, half in steps)
