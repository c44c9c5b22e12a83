"""A phase of a study: what it wants to run next, and what it makes of what has run."""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record


@dataclass(frozen=True)
class Proposal:
    """A trial to run."""

    trial: int
    phase: str  # that of its record
    recipe: Recipe
    seed: int
    variants: tuple[dict[str, dict[str, Any]], ...] = ()  # the tricks of other recipes that share its training
    whole: bool = False  # it is trained to its end, whatever others have reached
    fresh: bool = False  # its latency is taken for it alone, not looked up
    test: bool = False  # the test split is read


class Phase(Protocol):
    """What the loop asks of a phase; it goes to the next one when nothing is left and nothing runs."""

    name: str
    ended: str  # which budget is used up, in words

    @property
    def left(self) -> int:
        """New trials that may still be asked for, as far as is known; what runs may yet change that."""

    @property
    def done(self) -> int:
        """Trials of this phase that have been recorded."""

    def next(self) -> Proposal | None:
        """The next trial, or None where there is none just now."""

    def learn(self, records: Sequence[Record]) -> None:
        """Hear of a trial that was proposed here, stored by now."""

    def release(self, variants: Sequence[dict[str, dict[str, Any]]], seed: int) -> None:
        """Hear that these variants of a trial were not run after all."""

    def lose(self, records: Sequence[Record] = (), epochs: int = 0) -> None:
        """Hear what an attempt cost of which no record will tell; `epochs` are those to its last rung."""


class TrialNumbers:
    """The numbers of trials; each new one gets the lowest that is free."""

    def __init__(self, taken: Iterable[int]) -> None:
        self._taken = set(taken)
        self._lowest = 0  # no number below it is free

    @property
    def lowest(self) -> int:
        """The lowest number that no trial has."""
        self._lowest = next(number for number in itertools.count(self._lowest) if number not in self._taken)
        return self._lowest

    def take(self) -> int:
        """That number, which is taken from now on."""
        number = self.lowest
        self._taken.add(number)
        return number


def fresh_seed(*parts: object) -> int:
    """A seed that no other parts share, the same in every run of a study."""
    digest = hashlib.sha256(":".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:4], "big")


@dataclass(frozen=True)
class PlannedRun:
    """A run that a design asks for."""

    phase: str
    recipe: Recipe
    seed: int
    test: bool = False

    @functools.cached_property
    def mark(self) -> tuple[str, str, int]:
        """What tells it from every other one."""
        return self.phase, self.recipe.key, self.seed


def in_rounds(arms: Sequence[Sequence[PlannedRun]], seed: int) -> list[PlannedRun]:
    """All runs of arms, one of each arm in a round, in an order that is drawn for each round.

    Arms that ran one after another would each have the machine in another state: a drift would look like an effect.
    There are as many rounds as the smallest arm has runs; a larger arm has several runs in each. A run that two arms
    share is there once.
    """
    draw = random.Random(seed)
    count = min((len(arm) for arm in arms if arm), default=0)
    runs: dict[tuple[str, str, int], PlannedRun] = {}
    for number in range(count):
        lot = [run for arm in arms for at, run in enumerate(arm) if at * count // len(arm) == number]
        draw.shuffle(lot)
        for run in lot:
            runs.setdefault(run.mark, run)
    return list(runs.values())


class DesignedPhase:
    """A phase whose runs follow from a design, and from the records that there are of it.

    `plan` gives all runs that are wanted, those that were run included, from the records of this phase so far; it is
    asked again whenever all of them have run, and the phase is over when it wants no more. A resumed study therefore
    goes on where it was.
    """

    def __init__(
        self,
        name: str,
        phases: Sequence[str],
        plan: Callable[[Sequence[Record]], Sequence[PlannedRun]],
        records: Sequence[Record],
        numbers: TrialNumbers,
    ) -> None:
        """`phases` are those of the records that it makes."""
        self.name, self.ended = name, ""
        self._plan, self._numbers = plan, numbers
        self._records = [record for record in records if record.phase in phases]
        self._asked: dict[int, PlannedRun] = {}
        self._queue: deque[PlannedRun] = deque()
        self._refill()

    @property
    def left(self) -> int:
        """Runs of the plan, as it is now, that were not asked for."""
        return len(self._queue)

    @property
    def done(self) -> int:
        """Runs of this phase that have been recorded."""
        return len(self._records)

    def next(self) -> Proposal | None:
        """The next run of the plan."""
        if not self._queue:
            return None
        wanted = self._queue.popleft()
        trial = self._numbers.take()
        self._asked[trial] = wanted
        return Proposal(
            trial,
            wanted.phase,
            wanted.recipe,
            wanted.seed,
            whole=True,
            fresh=wanted.phase != "baseline",
            test=wanted.test,
        )

    def learn(self, records: Sequence[Record]) -> None:
        """Hear of a run; the last one of a plan shows whether more are wanted."""
        self._asked.pop(records[0].trial, None)
        self._records += records
        if not self._queue and not self._asked:
            self._refill()

    def release(self, variants: Sequence[dict[str, dict[str, Any]]], seed: int) -> None:
        """A run of a design has no variants."""

    def lose(self, records: Sequence[Record] = (), epochs: int = 0) -> None:
        """The budgets are the search's."""

    def _refill(self) -> None:
        known = {mark_of(record) for record in self._records}
        missing: dict[tuple[str, str, int], PlannedRun] = {}
        for wanted in self._plan(self._records):
            if wanted.mark not in known:
                missing.setdefault(wanted.mark, wanted)
        self._queue.extend(missing.values())


def mark_of(record: Record) -> tuple[str, str, int]:
    """What tells a run from every other one; see PlannedRun."""
    return record.phase, Recipe.model_validate(record.recipe).key, record.seed
