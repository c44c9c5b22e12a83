"""Goals: a study's objectives and constraints as one value, and what they say of records."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

from tricksearch.records.averages import averaged
from tricksearch.records.constraints import baseline_of, feasible
from tricksearch.records.measures import MEASURES
from tricksearch.records.pareto import front, hypervolume, knee, membership
from tricksearch.records.record import Record

Point = list[float]
KEPT = 0.75  # of the baseline's accuracy, or another percentage: below it nobody would choose a recipe
MOST = 10.0  # times the baseline's latency, or another cost, likewise


@dataclass(frozen=True)
class Goals:
    """What is wanted of a recipe: two or more measures, and limits that a recipe on the front must keep."""

    objectives: tuple[str, ...]
    constraints: tuple[str, ...] = ()

    @property
    def maximize(self) -> list[bool]:
        """Of each objective, whether more of it is better."""
        return [MEASURES[name].maximize for name in self.objectives]

    def point(self, record: Record) -> Point | None:
        """A record's objectives, in their order; None where one of them was not measured."""
        values = [record.value(name) for name in self.objectives]
        return None if None in values else [float(value) for value in values if value is not None]

    def points(self, records: Sequence[Record]) -> list[Point]:
        """The points (n, d) of records, each of which has one. Raises ValueError where one has none."""
        rows = [self.point(record) for record in records]
        if None in rows:
            raise ValueError("a record without all objectives has no point: see `rivals`")
        return [row for row in rows if row is not None]

    def rivals(self, records: Sequence[Record]) -> list[Record]:
        """The finished records that keep every constraint and have every objective."""
        return [record for record in feasible(records, self.constraints) if self.point(record) is not None]

    def front(self, records: Sequence[Record]) -> list[Record]:
        """The recipes that keep the constraints and that no other such dominates, by the second objective.

        A recipe that ran with several seeds stands there with its mean.
        """
        return self.front_of_means(averaged(records))

    def front_of_means(self, means: Sequence[Record]) -> list[Record]:
        """The same, of recipes that are given with their means: of those to choose from (`preferred`)."""
        points = [
            (record, point)
            for record in preferred(feasible(means, self.constraints))  # which takes the baseline from among all
            if (point := self.point(record)) is not None
        ]
        chosen = [points[index] for index in front([point for _, point in points], self.maximize)]
        return [record for record, _ in sorted(chosen, key=lambda pair: pair[1][1])]

    def knee(self, records: Sequence[Record]) -> Record | None:
        """The best compromise of the front, or None where there is no front."""
        return self.knee_of_means(averaged(records))

    def knee_of_means(self, means: Sequence[Record]) -> Record | None:
        """The same, of recipes that are given with their means: of those that were confirmed, where any were.

        What is out of reach of the baseline is no compromise, and does not stretch the scale that one is measured on.
        """
        members = self.front_of_means(self.within_reach(preferred(self.rivals(means)), means))
        return members[knee(self.points(members), self.maximize)] if members else None

    def within_reach(self, candidates: Sequence[Record], means: Sequence[Record]) -> list[Record]:
        """Of recipes with all objectives, those that somebody could choose; all of them where none is.

        They keep KEPT of the baseline's percentages, and are no more than MOST times worse on all else. Where no
        baseline finished, the median of all means takes its place.
        """
        plain = baseline_of(means)
        usual = None if plain is None else self.point(plain)
        if usual is None:
            points = [point for record in means if record.finished and (point := self.point(record)) is not None]
            usual = [median(column) for column in zip(*points, strict=True)]

        def near(record: Record) -> bool:
            for name, value, at in zip(self.objectives, self.point(record) or [], usual, strict=False):
                measure = MEASURES[name]
                share = KEPT if measure.percent else 1 / MOST
                if (value < share * at) if measure.maximize else (share * value > at):
                    return False
            return True

        return [record for record in candidates if near(record)] or list(candidates)

    def membership(self, means: Sequence[Record], noise: Sequence[float]) -> list[float]:
        """How probable it is of each of these recipes, all of them `rivals`, that it is on the front.

        `noise` is, for each objective, the standard deviation of one run as a share of its value. To what the
        stopwatch tells, its own error is added: recipes that share a timing share that error.
        """
        points = self.points(means)
        errors = [
            [abs(value) * share / sqrt(record.runs) for share, value in zip(noise, point, strict=True)]
            for record, point in zip(means, points, strict=True)
        ]
        timing = [
            [abs(value) * _timing_error(record, name) for value, name in zip(point, self.objectives, strict=True)]
            for record, point in zip(means, points, strict=True)
        ]
        return membership(points, errors, self.maximize, shared=timing, groups=[_measured(record) for record in means])

    def hypervolume(self, records: Sequence[Record], reference: Sequence[float]) -> float:
        """What these recipes, each given with its mean, dominate, bounded by the reference point."""
        return hypervolume(self.points(self.rivals(records)), self.maximize, reference)


def preferred(means: Sequence[Record]) -> list[Record]:
    """Of recipes to choose from, those that fresh runs confirmed, where any but the baseline were; otherwise all."""
    confirmed = [record for record in means if record.confirmed]
    return confirmed if any(record.tricks for record in confirmed) else list(means)


def _timing_error(record: Record, name: str) -> float:
    return (record.latency_error or 0.0) if MEASURES[name].timed else 0.0


def _measured(record: Record) -> Hashable:
    """What the measurement of its latency has in common with that of other records, or else its own id."""
    return tuple(record.timing.get("tie", ())) or record.timing.get("id") or record.id
