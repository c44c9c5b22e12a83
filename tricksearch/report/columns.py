"""The records as columns of plain JSON: what the page embeds once and draws everything from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import yaml

from tricksearch.contract import InputError, nearest
from tricksearch.trial.bounds import broken, resolved
from tricksearch.trial.record import MEASURES, Record
from tricksearch.verdicts.front import front, knee
from tricksearch.verdicts.intervals import wilson

_BREAKS = frozenset("\n\r\x85\u2028\u2029")  # what YAML takes for the end of a line
DEFAULT_OBJECTIVES = ("accuracy", "latency_ms")
_PLAIN = (
    "id",
    "trial",
    "variant",
    "status",
    "reason",
    "seed",
    "runs",
    "accuracy_sd",
    "validation_images",
    "latency_runs",
    "latency_drift",
    "started",
)


@dataclass(frozen=True)
class View:
    """What the page answers, computed once: every entry is a record's place in `records`."""

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


def view(records: Sequence[Record], objectives: Sequence[str], constraints: Sequence[str] = ()) -> View:
    """The front, the knee and what beats the baseline, over all objectives, among what keeps the constraints.

    Raises InputError for an objective that is no measure.
    """
    for name in objectives:
        if name not in MEASURES:
            raise InputError(f"'{name}' is not a measure", place="objectives", remedy=nearest(name, MEASURES))
    others = [name for name in DEFAULT_OBJECTIVES if name not in objectives]
    names = (*objectives, *others[: max(0, 2 - len(objectives))])
    maximize = [MEASURES[name].maximize for name in names]
    rows = [[_of(each, name) for name in names] for each in records]
    plotted = [i for i, each in enumerate(records) if each.finished and None not in rows[i]]
    bounds = resolved(constraints, records)
    infeasible = [i for i in plotted if broken(bounds, vars(records[i]))]
    allowed = sorted(set(plotted) - set(infeasible))
    points = [[float(value) for value in rows[i]] for i in allowed]
    members = sorted(front(points, maximize), key=lambda at: (points[at][1], points[at][0]))
    baseline = next((i for i, each in enumerate(records) if each.phase == "baseline"), None)
    better: list[int] = []
    if baseline is not None and baseline in plotted:
        start = [float(value) for value in rows[baseline]]
        better = [
            allowed[at]
            for at, point in enumerate(points)
            if all(a > b if up else a < b for a, b, up in zip(point, start, maximize, strict=True))
        ]
    return View(
        records,
        names,
        plotted,
        infeasible,
        front=[allowed[at] for at in members],
        knee=allowed[knee(points, maximize)] if points else None,
        baseline=baseline,
        better=better,
    )


def accuracy_interval(record: Record) -> tuple[float, float] | None:
    """The 95 % Wilson interval of a record's accuracy, in percent; None where it was not measured."""
    n = record.validation_images
    if _of(record, "accuracy") is None or not n:
        return None
    low, high = wilson(round(_of(record, "accuracy") / 100 * n), n)
    return 100 * low, 100 * high


def embedded(seen: View, study: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the page's script needs.

    A recipe is kept as the index of its base settings, whose YAML is kept once, and for each trick that is on
    as [index of (trick, fields), value, value...], the values being YAML scalars.
    """
    records = seen.records
    bases: dict[str, int] = {}
    forms: dict[tuple[str, ...], int] = {}
    base, on = [], []
    for record in records:
        settings = {key: value for key, value in record.recipe.items() if key != "tricks"}
        base.append(bases.setdefault(json.dumps(settings), len(bases)))
        on.append(
            [
                [forms.setdefault((scalar(name), *map(scalar, values)), len(forms)), *map(scalar, values.values())]
                for name, values in record.tricks.items()
            ]
        )
    columns: dict[str, list[Any]] = {name: [_rounded(_of(each, name), 4) for each in records] for name in _PLAIN}
    for name, measure in MEASURES.items():
        columns[name] = [_rounded(_of(each, name), measure.digits + 2) for each in records]
    intervals = [accuracy_interval(each) for each in records]
    columns["low"] = [round(pair[0], 2) if pair else None for pair in intervals]
    columns["high"] = [round(pair[1], 2) if pair else None for pair in intervals]
    return {
        "study": " ".join(str(study.get("name", "")).split()),
        "y": seen.y,
        "x": seen.x,
        "objectives": list(seen.objectives),
        "measures": [{"key": key, **asdict(measure)} for key, measure in MEASURES.items()],
        "columns": columns,
        "base": base,
        "bases": [_settings(text) for text in bases],
        "on": on,
        "forms": [list(form) for form in forms],
        "plotted": seen.plotted,
        "infeasible": seen.infeasible,
        "front": seen.front,
        "knee": seen.knee,
        "baseline": seen.baseline,
    }


def scalar(value: Any) -> str:
    """A value as YAML on one line.

    >>> scalar(1e-05), scalar("on"), scalar([1, 2])
    ('1.0e-05', "'on'", '[1, 2]')
    """
    # The short ways are there for their speed: ten thousand records hold a hundred thousand values.
    if type(value) is str:
        return _of_text(value)
    if type(value) is bool:
        return str(value).lower()
    if type(value) is int:
        return str(value)
    if type(value) is float and math.isfinite(value):
        text = repr(value)
        # YAML 1.1 takes 1e-05, which has no point, for a text.
        return text if "." in text else text.replace("e", ".0e", 1)
    return _dump(value)


@lru_cache(maxsize=4096)
def _of_text(value: str) -> str:
    return _dump(value)


def _dump(value: Any) -> str:
    def dump(style: str | None) -> str:
        return yaml.safe_dump(
            [value],
            default_flow_style=True,
            default_style=style,
            width=math.inf,
            allow_unicode=True,
            sort_keys=False,
        ).strip()

    text = dump(None)
    if set(text) & _BREAKS:  # single quotes would break the line; in double ones it is one
        text = dump('"')
    return text[1:-1]


def _settings(text: str) -> str:
    settings = json.loads(text)
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) if settings else ""


def _rounded(value: Any, digits: int) -> Any:
    """A float at two digits more than it is shown with: enough to draw and to sort by, and half as long."""
    return round(value, digits) if isinstance(value, float) else value


def _of(record: Record, name: str) -> Any:
    """A record's value; None stands for a NaN or an infinity, which JSON does not have."""
    value = getattr(record, name)
    return None if isinstance(value, float) and not math.isfinite(value) else value
