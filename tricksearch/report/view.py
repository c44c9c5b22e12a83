"""What the page shows of a study's records: the front, the knee, and what beats the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tricksearch.contract import InputError, nearest
from tricksearch.records.constraints import broken, resolved
from tricksearch.records.goals import Goals
from tricksearch.records.measures import MEASURES
from tricksearch.records.pareto import front, knee
from tricksearch.records.record import Record
from tricksearch.verdicts.intervals import wilson

DEFAULT_OBJECTIVES = ("accuracy", "latency_ms")


@dataclass(frozen=True)
class View:
    """What the page shows of the records, computed once: every index is a place in `records`."""

    records: Sequence[Record]
    objectives: tuple[str, ...]  # two or more measures, of which the first two are drawn
    plotted: list[int]  # finished, and every objective measured
    infeasible: list[int]  # of these, the ones that break a constraint of the study
    front: list[int]  # of the others, over all objectives, from small to large x
    knee: int | None
    baseline: int | None
    better: list[int]  # better than the baseline on every objective

    @property
    def y(self) -> str:
        """The measure that is drawn upwards."""
        return self.objectives[0]

    @property
    def x(self) -> str:
        """The measure that is drawn to the right."""
        return self.objectives[1]


def make_view(records: Sequence[Record], objectives: Sequence[str], constraints: Sequence[str] = ()) -> View:
    """The front, the knee and what beats the baseline, over all objectives, among what keeps the constraints.

    Raises InputError for an objective that is no measure.
    """
    for name in objectives:
        if name not in MEASURES:
            raise InputError(f"'{name}' is not a measure", place="objectives", remedy=nearest(name, MEASURES))
    others = [name for name in DEFAULT_OBJECTIVES if name not in objectives]
    goals = Goals((*objectives, *others[: max(0, 2 - len(objectives))]), tuple(constraints))
    points = {at: point for at, record in enumerate(records) if (point := _plotted(goals, record)) is not None}
    bounds = resolved(constraints, records)
    infeasible = [at for at in points if broken(bounds, records[at].measures)]
    allowed = sorted(points.keys() - set(infeasible))
    rows = [points[at] for at in allowed]
    members = sorted(front(rows, goals.maximize), key=lambda at: (rows[at][1], rows[at][0]))
    baseline = next((at for at, record in enumerate(records) if record.phase == "baseline"), None)
    better: list[int] = []
    if baseline in points:
        better = [
            at
            for at, row in zip(allowed, rows, strict=True)
            if all(a > b if up else a < b for a, b, up in zip(row, points[baseline], goals.maximize, strict=True))
        ]
    return View(
        records,
        goals.objectives,
        list(points),
        infeasible,
        front=[allowed[at] for at in members],
        knee=allowed[knee(rows, goals.maximize)] if rows else None,
        baseline=baseline,
        better=better,
    )


def _plotted(goals: Goals, record: Record) -> list[float] | None:
    """The point that is drawn of a record: none of one that did not finish, or lacks an objective."""
    point = goals.point(record) if record.finished else None
    return point if point is not None and all(map(math.isfinite, point)) else None


def accuracy_interval(record: Record) -> tuple[float, float] | None:
    """The 95 % Wilson interval of a record's accuracy, in percent; None where it was not measured."""
    n, accuracy = record.validation_images, record.accuracy
    if accuracy is None or not math.isfinite(accuracy) or not n:
        return None
    low, high = wilson(round(accuracy / 100 * n), n)
    return 100 * low, 100 * high
