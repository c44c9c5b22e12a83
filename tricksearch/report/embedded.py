"""The records as columns of plain JSON: what the page embeds once and draws everything from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import yaml

from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record
from tricksearch.report.view import View, accuracy_interval

_LINE_BREAKS = frozenset("\n\r\x85\u2028\u2029")  # what YAML takes for the end of a line
_TOOLTIP = ("accuracy", "latency_ms", "latency_p95_ms")  # shown for a point, besides the objectives
_FIELDS = (  # of a record, each a column of the data
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
    "latency_low_ms",
    "latency_high_ms",
    "started",
)


def embedded_data(view: View, study: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the page's script needs, as plain JSON: each field of the records is one list."""
    return {
        "study": " ".join(str(study.get("name", "")).split()),
        "y": view.y,
        "x": view.x,
        "objectives": list(view.objectives),
        "tooltip": list(dict.fromkeys((*_TOOLTIP, *view.objectives))),
        "measures": [_measure(name, view) for name in MEASURES],
        "columns": _columns(view.records),
        **_recipes(view.records),
        "plotted": view.plotted,
        "infeasible": view.infeasible,
        "front": view.front,
        "knee": view.knee,
        "baseline": view.baseline,
    }


def _measure(name: str, view: View) -> dict[str, Any]:
    measure = MEASURES[name]
    return {
        "key": name,
        **{key: getattr(measure, key) for key in ("unit", "maximize", "title", "noun", "digits")},
        "listed": measure.listed or name in view.objectives,
    }


def _columns(records: Sequence[Record]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        name: [_rounded(getattr(record, name), 4) for record in records] for name in _FIELDS
    }
    for name, measure in MEASURES.items():
        columns[name] = [_rounded(record.value(name), measure.digits + 2) for record in records]
    intervals = [accuracy_interval(record) for record in records]
    columns["low"] = [round(bounds[0], 2) if bounds else None for bounds in intervals]
    columns["high"] = [round(bounds[1], 2) if bounds else None for bounds in intervals]
    return columns


def _recipes(records: Sequence[Record]) -> dict[str, Any]:
    """The recipes in a short form, because most of a recipe stands in each of ten thousand others.

    `base` is, of each record, the index of its settings in `bases`, where they are YAML. `on` has, of each record, a
    list for each trick that is on: the index of the trick's name and fields in `forms`, then the fields' values. All
    are YAML scalars.
    """
    bases: dict[str, int] = {}
    forms: dict[tuple[str, ...], int] = {}
    base, on = [], []
    for record in records:
        settings = {key: value for key, value in record.recipe.items() if key != "tricks"}
        base.append(bases.setdefault(json.dumps(settings), len(bases)))
        tricks: list[list[Any]] = []
        for name, values in record.tricks.items():
            form = (yaml_scalar(name), *map(yaml_scalar, values))
            tricks.append([forms.setdefault(form, len(forms)), *map(yaml_scalar, values.values())])
        on.append(tricks)
    return {
        "base": base,
        "bases": [_settings(text) for text in bases],
        "on": on,
        "forms": [list(form) for form in forms],
    }


def yaml_scalar(value: Any) -> str:
    """A value as YAML on one line.

    >>> yaml_scalar(1e-05), yaml_scalar("on"), yaml_scalar([1, 2])
    ('1.0e-05', "'on'", '[1, 2]')
    """
    # The short ways are there for their speed: ten thousand records hold a hundred thousand values.
    if type(value) is str:
        return _dump_text(value)
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
def _dump_text(value: str) -> str:
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
    if set(text) & _LINE_BREAKS:  # single quotes would break the line; in double ones it is one
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
