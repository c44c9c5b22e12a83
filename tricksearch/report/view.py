"""What the page shows of a study's records: the front, the knee, and what beats the baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tricksearch.contract import InputError, nearest
from tricksearch.records.constraints import broken, resolved
from tricksearch.records.goals import Goals
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import NORMAL, Record
from tricksearch.verdicts.intervals import wilson
from tricksearch.verdicts.verdict import CONFIRMED, HELPS, Verdict, recipe_name

DEFAULT_OBJECTIVES = ("accuracy", "latency_ms")


@dataclass(frozen=True)
class View:
    """What the page shows of the records, computed once: every index is a place in `records`."""

    records: Sequence[Record]
    objectives: tuple[str, ...]  # two or more measures, of which the first two are drawn
    plotted: list[int]  # finished, and every objective measured
    infeasible: list[int]  # of these, the ones that break a constraint of the study
    front: list[int]  # of the others, over all objectives, from small to large x: of the confirmed ones, if any were
    knee: int | None
    baseline: int | None
    better: list[int]  # better than the baseline on every objective
    sure: list[int]  # of these, the ones whose 95 % intervals lie wholly on the better side of the baseline's
    tested: bool = False  # `sure` are those that the verdicts on confirmed recipes call better

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
    place = {id(record): at for at, record in enumerate(records)}
    competing = [record for at, record in enumerate(records) if at in points or goals.point(record) is None]
    best = goals.knee_of_means(competing)
    tried = [at for at, record in enumerate(records) if record.phase == "baseline"]
    baseline = next((at for at in tried if records[at].finished), tried[0] if tried else None)
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
        front=[place[id(record)] for record in goals.front_of_means(competing)],
        knee=None if best is None else place[id(best)],
        baseline=baseline,
        better=better,
        sure=[at for at in better if not _doubtful(goals, records[at], records[baseline or 0])],
    )


def as_tested(view: View, verdicts: Iterable[Verdict]) -> View:
    """The view whose `sure` recipes are those that fresh runs show to be better, where a confirmation tested any.

    These tests know of the seeds' noise and of how many recipes were tested; one run's interval knows of neither.
    """
    shown = {
        (verdict.trick, verdict.measure): verdict.says == HELPS
        for verdict in verdicts
        if verdict.comparison == CONFIRMED
    }
    if not shown:
        return view
    sure = [
        at for at in view.better if all(shown.get((recipe_name(view.records[at].id), name)) for name in view.objectives)
    ]
    return replace(view, sure=sure, tested=True)


def _plotted(goals: Goals, record: Record) -> list[float] | None:
    """The point that is drawn of a record: none of one that did not finish, or lacks an objective."""
    point = goals.point(record) if record.finished else None
    return point if point is not None and all(map(math.isfinite, point)) else None


def _doubtful(goals: Goals, record: Record, baseline: Record) -> list[str]:
    return [name for name in goals.objectives if not clearly_better(record, baseline, name)]


def clearly_better(record: Record, baseline: Record, name: str) -> bool:
    """Whether the 95 % interval of a measure lies wholly on the better side of the baseline's."""
    own, other = interval_of(record, name), interval_of(baseline, name)
    if own is None or other is None:
        return False
    return own[0] > other[1] if MEASURES[name].maximize else own[1] < other[0]


def interval_of(record: Record, name: str) -> tuple[float, float] | None:
    """The 95 % interval of a measure, in its unit: of the images or of the timing alone, not of the seed.

    What is counted on the graph is exact. None where no error is known, as of a training time.
    """
    value, measure = record.value(name), MEASURES[name]
    if value is None or not math.isfinite(value):
        return None
    if name == "accuracy":
        return accuracy_interval(record)
    if measure.counted:
        return value, value
    if name == "f1" and record.f1_error is not None:
        half = NORMAL * record.f1_error
        return max(0.0, value - half), min(100.0, value + half)
    if measure.timed and record.latency_error is not None:
        factor = math.exp(NORMAL * record.latency_error)
        return value / factor, value * factor
    return None


def accuracy_interval(record: Record) -> tuple[float, float] | None:
    """The 95 % Wilson interval of a record's accuracy, in percent; None where it was not measured."""
    n, accuracy = record.validation_images, record.accuracy
    if accuracy is None or not math.isfinite(accuracy) or not n:
        return None
    low, high = wilson(round(accuracy / 100 * n), n)
    return 100 * low, 100 * high
