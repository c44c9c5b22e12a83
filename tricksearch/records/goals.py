"""Goals: a study's objectives and constraints as one value, and what they say of records."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import sqrt

from tricksearch.records.averages import averaged
from tricksearch.records.constraints import feasible
from tricksearch.records.measures import MEASURES
from tricksearch.records.pareto import front, hypervolume, knee, membership
from tricksearch.records.record import Record

Point = list[float]


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
        """The same, of recipes that are given with their means."""
        points = [
            (record, point) for record in feasible(means, self.constraints) if (point := self.point(record)) is not None
        ]
        chosen = [points[index] for index in front([point for _, point in points], self.maximize)]
        return [record for record, _ in sorted(chosen, key=lambda pair: pair[1][1])]

    def knee(self, records: Sequence[Record]) -> Record | None:
        """The best compromise of the front, or None where there is no front."""
        members = self.front(records)
        return members[knee(self.points(members), self.maximize)] if members else None

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


def _timing_error(record: Record, name: str) -> float:
    return (record.latency_error or 0.0) if MEASURES[name].timed else 0.0


def _measured(record: Record) -> Hashable:
    """What the measurement of its latency has in common with that of other records, or else its own id."""
    return tuple(record.timing.get("tie", ())) or record.timing.get("id") or record.id
