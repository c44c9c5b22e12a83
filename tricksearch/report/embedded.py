"""JSON that is safe inside a page's script element."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

from tricksearch.records.measures import MEASURES
from tricksearch.report.view import View, accuracy_interval

_BREAKS = frozenset("\n\r\x85\u2028\u2029")  # what YAML takes for the end of a line


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
    columns: dict[str, list[Any]] = {
        name: [_rounded(getattr(record, name), 4) for record in records] for name in _PLAIN
    }
    for name, measure in MEASURES.items():
        columns[name] = [_rounded(record.value(name), measure.digits + 2) for record in records]
    intervals = [accuracy_interval(each) for each in records]
    columns["low"] = [round(pair[0], 2) if pair else None for pair in intervals]
    columns["high"] = [round(pair[1], 2) if pair else None for pair in intervals]
    return {
        "study": " ".join(str(study.get("name", "")).split()),
        "y": seen.y,
        "x": seen.x,
        "objectives": list(seen.objectives),
        "measures": [
            {"key": key, **{part: getattr(measure, part) for part in ("unit", "maximize", "title", "digits")}}
            for key, measure in MEASURES.items()
        ],
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
    """A float at two digits more than it is shown with: enough to draw and to sort by, and half as long.

    None stands for a NaN or an infinity, which JSON does not have.
    """
    if not isinstance(value, float):
        return value
    return round(value, digits) if math.isfinite(value) else None
