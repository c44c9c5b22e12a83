"""What a sampler is: it proposes settings of a layout, best first, and learns from what became of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from tricksearch.records.pareto import front
from tricksearch.search.space.layout import Layout, Rows, Setting
from tricksearch.verdicts.designs import balanced

GUIDED_DRAWS = 10  # repeats in a row after which a sampler's favourite is varied at random instead
VARIED_DRAWS = 500  # repeats in a row, varied more and more, after which nothing new is left to draw


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a setting. A margin says by how much a constraint is broken: 0 and less keeps it."""

    setting: Setting
    values: tuple[float, ...] | None  # the objectives; None where the trial gave none
    margins: tuple[float | None, ...] = ()  # one for each constraint; None where it is not known
    stopped: bool = False  # it gave none because it was seen to be behind
    study: int = 0  # 0 is this study, others are earlier ones
    comparable: bool = True  # whether its values are on this study's scale
    row: Rows | None = field(
        default=None, repr=False, compare=False
    )  # the setting as numbers, where a sampler keeps it

    @property
    def feasible(self) -> bool:
        """Whether it has values and is not known to break a constraint."""
        return self.values is not None and all(margin is None or margin <= 0 for margin in self.margins)


class Sampler(Protocol):
    """Proposes settings. Everything that it draws at random follows from its seed and the number of the trial."""

    def ask(self, number: int) -> Iterator[Setting]:
        """Settings for trial `number`, best first. The caller takes the first that is new to it."""

    def take(self, setting: Setting, told_as: Setting | None = None) -> None:
        """This setting is being tried; `told_as` is the one that will be told, where the caller rounds values."""

    def tell(self, outcome: Outcome) -> None:
        """Learn what became of a setting, taken or not. What is told again, a mean over seeds, replaces the first."""


class OwnSampler:
    """What the samplers of this package share: a memory, a balanced start, and changes of what is not new."""

    def __init__(self, layout: Layout, maximize: Sequence[bool], seed: int, startup: int) -> None:
        self.layout, self.maximize, self.seed = layout, tuple(maximize), seed
        self.outcomes: list[Outcome] = []
        self._place: dict[Hashable, int] = {}  # of this study's outcomes among them
        self.pending: dict[Hashable, Rows] = {}
        self._start = balanced(layout.roots(), startup, seed)

    def ask(self, number: int) -> Iterator[Setting]:
        """The balanced start, then what the sampler proposes, then random changes of it."""
        random = np.random.default_rng([self.seed, number])
        favourite: Rows | None = None
        if 1 <= number <= len(self._start):
            proposed = self._settings(self.layout.random(GUIDED_DRAWS, random, fixed=self._start[number - 1]))
        else:
            proposed = self.propose(number, random)
        for setting in proposed:
            favourite = self.layout.row(setting) if favourite is None else favourite
            yield setting
        yield from varied(self.layout, favourite, random)

    def propose(self, number: int, random: np.random.Generator) -> Iterator[Setting]:
        """Settings, best first; at least one."""
        raise NotImplementedError

    def take(self, setting: Setting, told_as: Setting | None = None) -> None:
        """Count it as pending until its outcome is told."""
        setting_told = setting if told_as is None else told_as
        self.pending[self.layout.key(setting_told)] = self.layout.row(setting_told)

    def tell(self, outcome: Outcome) -> None:
        """Remember it, in place of what was told of this setting before."""
        key = self.layout.key(outcome.setting)
        row = self.pending.pop(key, None)
        outcome = replace(outcome, row=self.layout.row(outcome.setting) if row is None else row)
        if outcome.study == 0 and self._place.setdefault(key, len(self.outcomes)) < len(self.outcomes):
            self.outcomes[self._place[key]] = outcome
        else:
            self.outcomes.append(outcome)

    def costs(self, outcomes: Sequence[Outcome]) -> Rows:
        """The objectives of outcomes that have values, (n, k), less being better."""
        values = np.array([outcome.values for outcome in outcomes], dtype=float).reshape(-1, len(self.maximize))
        return np.where(self.maximize, -values, values)

    def best(self) -> list[Outcome]:
        """The front of this study; where nothing keeps the constraints, what breaks them least."""
        own = [candidate for candidate in self.outcomes if candidate.study == 0 and candidate.values is not None]
        kept = [outcome for outcome in own if outcome.feasible]
        if not kept and own:
            worst = [max((margin for margin in outcome.margins if margin is not None), default=0.0) for outcome in own]
            kept = [own[at] for at in np.argsort(worst, kind="stable")[:5]]
        members = front(self.costs(kept).tolist(), [False] * len(self.maximize))
        return [kept[at] for at in members]

    def rows(self, outcomes: Sequence[Outcome]) -> Rows:
        """The settings of outcomes that were told, (n, d)."""
        return np.array([outcome.row for outcome in outcomes]).reshape(len(outcomes), len(self.layout))

    def _settings(self, rows: Rows) -> Iterator[Setting]:
        return (self.layout.setting(row) for row in rows)


def varied(layout: Layout, favourite: Rows | None, random: np.random.Generator) -> Iterator[Setting]:
    """Random changes of a row, more and more of them, and at last settings that are wholly random."""
    for draw in range(VARIED_DRAWS):
        changes = 1 + draw * len(layout) // VARIED_DRAWS
        if favourite is None or draw % 2:
            rows = layout.random(1, random)
        else:
            rows = layout.changed(favourite[None], changes, random)
        yield layout.setting(rows[0])
