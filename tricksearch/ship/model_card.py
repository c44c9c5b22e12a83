"""The model card of an exported folder: what the model is, what was measured, what was tried, where it ends."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from jinja2 import Environment, PackageLoader, StrictUndefined

from tricksearch.contract import Deployable, Runtime
from tricksearch.records.measures import MEASURES, Measure
from tricksearch.records.record import REJECTED, STOPPED, Record, machine_line
from tricksearch.records.timing import with_error


@dataclass(frozen=True)
class Subject:
    """What a card describes: `record`, and its recipe as `mean`, which is that of its fresh runs where it has any.

    `records` are those of the whole run, `shape` the input's (channels, height, width).
    """

    study: str
    pick: str
    record: Record
    mean: Record
    baseline: Record | None
    records: Sequence[Record]
    deployable: Deployable
    runtime: Runtime
    packages: Mapping[str, str]
    classes: int
    shape: tuple[int, int, int]


class _Markdown(str):
    """Text that is Markdown already; the template escapes every other text."""


def model_card(subject: Subject) -> str:
    """The card as Markdown. Names that others chose are shown as they are, and never read as Markdown."""
    record, recipe = subject.record, subject.record.recipe
    channels, height, width = subject.shape
    return _TEMPLATES.get_template("model_card.md").render(
        title=f"{subject.study}: record {record.id}",
        pick=subject.pick,
        record=record,
        recipe=recipe,
        deployable=subject.deployable,
        runtime=subject.runtime,
        classes=subject.classes,
        channels=channels,
        height=height,
        width=width,
        tricks={
            name: [f"{field} = {json.dumps(value)}" for field, value in values.items()]
            for name, values in record.tricks.items()
        },
        measures=_measures(record, subject.mean, subject.baseline),
        mean=subject.mean,
        confirmed=_confirmed(subject),
        standard_error=_standard_error(record),
        threads=subject.runtime.threads or recipe["latency"]["threads"],
        machine=machine_line(record.hardware),
        yardstick=(
            "the plain net's file (`baseline.onnx`)"
            if record.timing.get("device", "cpu") == "cpu"
            else "a fixed product of matrices on the GPU"
        ),
        beside=_beside(record),
        plain_ms=MEASURES["latency_ms"].text(record.timing.get("refers_to_ms")),
        counts=_counts(subject.records),
        tried=sorted({name for other in subject.records for name in other.tricks}),
        versions={**record.versions, **subject.packages},
    )


def _measures(record: Record, mean: Record, baseline: Record | None) -> list[tuple[str, str, str, str, str]]:
    """For each measure that was taken its title, the model's value, its recipe's mean, the baseline's, the difference.

    The difference is that of the recipe's mean, which is the record itself where there was one run.
    """
    rows = []
    for name, measure in MEASURES.items():
        value = record.value(name)
        if value is None:
            continue
        start = baseline.value(name) if baseline is not None else None
        usual = mean.value(name) if mean.runs > 1 else value
        apart = "-" if usual is None else _difference(measure, usual, start)
        rows.append((measure.title, with_error(record, name), measure.text(usual), measure.text(start), apart))
    return rows


def _confirmed(subject: Subject) -> str:
    """What fresh runs of the recipe gave; "" where there was none."""
    mean, record = subject.mean, subject.record
    if not mean.confirmed:
        return ""
    runs = [run for run in subject.records if run.phase == "confirm" and run.recipe_key == mean.recipe_key]
    tested = [run.test_accuracy for run in runs if run.test_accuracy is not None]
    count = f"{mean.confirmed} training{'' if mean.confirmed == 1 else 's'} with fresh seeds"
    text = f"The recipe (record {mean.id} of the search) was confirmed by {count}, by none of which it was chosen."
    if record.test_accuracy is not None:
        text += f" On n = {record.test_images} test images this model has {record.test_accuracy:.2f} %"
        text += f", the mean of {len(tested)} is {fmean(tested):.2f} %." if len(tested) > 1 else "."
    return text


def _difference(measure: Measure, value: float, start: float | None) -> str:
    difference = measure.difference(value, start)
    return f"{difference} points" if difference and measure.percent else difference or "-"


def _standard_error(record: Record) -> str | None:
    """That of the accuracy, in points, from the choice of the validation images alone."""
    if record.accuracy is None or not record.validation_images:
        return None
    share = record.accuracy / 100
    return f"{100 * math.sqrt(share * (1 - share) / record.validation_images):.2f}"


def _beside(record: Record) -> str:
    """What the record holds of other programs on the machine while its latency was taken."""
    share = record.latency_disturbed
    if share is None:
        sentence = "Whether other programs had the processor meanwhile is not recorded."
    else:
        rounds = "" if record.latency_rounds is None else f" of its {record.latency_rounds:,} rounds"
        part = "none" if share == 0 else f"{max(1, round(100 * share))} %"
        sentence = f"Other programs had the processor in {part}{rounds}."
    return f"{sentence} Noted of it: {record.latency_note}." if record.latency_note else sentence


def _counts(records: Sequence[Record]) -> dict[str, str | int]:
    def count(number: int, word: str) -> str:
        return f"{number:,} {word}{'' if number == 1 else 's'}"

    rejected = sum(record.status == REJECTED for record in records)
    stopped = sum(record.status == STOPPED for record in records)
    return {
        "trials": count(len({record.trial for record in records}), "trial"),
        "records": count(len(records), "record"),
        "rejected": rejected,
        "stopped": stopped,
        "failed": sum(not record.finished for record in records) - rejected - stopped,
    }


def _one_line(text: object) -> str:
    return "".join(char if char.isprintable() else " " for char in " ".join(str(text).split()))


def _escaped(text: object) -> str:
    """Text that Markdown shows as it is, in one line.

    >>> _escaped("a|b <i>*c*")
    'a\\\\|b \\\\<i\\\\>\\\\*c\\\\*'
    """
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|~&!$" else char for char in _one_line(text))


def _code(text: object) -> _Markdown:
    """The same, as code where that is possible.

    >>> print(_code("a_b"), _code("a`b"))
    `a_b` a\\`b
    """
    line = _one_line(text)
    return _Markdown(f"`{line}`" if line and not {"`", "|"} & set(line) else _escaped(line))


def _codes(texts: Iterable[object]) -> _Markdown:
    return _Markdown(", ".join(map(_code, texts)))


_TEMPLATES = Environment(  # noqa: S701  # Markdown, whose own characters `finalize` escapes
    loader=PackageLoader("tricksearch.ship"),
    finalize=lambda value: value if isinstance(value, _Markdown) else _escaped(value),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {"code": _code, "codes": _codes}
