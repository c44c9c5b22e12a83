"""The model card of an exported folder: what the model is, what was measured, what was tried, where it ends."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tricksearch.contract import Deployable, Runtime
from tricksearch.records.measures import MEASURES, Measure
from tricksearch.records.record import REJECTED, STOPPED, Record, machine_line

_CARD = """\
# {title}

Sorts images of {shape} pixels into {classes} classes. Written by tricksearch {version}, which picked record {id} of
the run by {pick}.

- Model: {files} ({format}, {precision}), run by {runtime}
- Net: {net}, {epochs} epochs on {data}, seed {seed}

## How to run it

    pip install -r requirements.txt
    python predict.py images.npy         # uint8, or float32 in [0, 1]: (N, {channels}, {height}, {width})
    python predict.py one.png two.jpg    # image files; needs Pillow
    python predict.py --time             # the median latency on this machine

`preprocessing.json` says how an image becomes the model's input. `tricksearch verify .` measures the folder again and
compares it with the record; `tricksearch trial recipe.yaml` trains the recipe again.

## Tricks

{tricks}

## What was measured

{measures}

Accuracy and F1: the file itself in its runtime, on n = {n} validation images, one training, one seed.{error}
Latency: n = {runs} calls with a batch of {batch}, {threads} thread(s), nothing else on the machine.
Machine: {machine}.

## What the search tried

{tried}

## Limits

- The validation images are those by which the search chose, so the figures above flatter the model. Before relying on
  them, measure it on images that nobody has chosen by.
- One training with one seed: another seed gives another accuracy, and a difference from the baseline that is smaller
  than that scatter means nothing.
- The latency is that of the machine above with these versions. Measure it on yours with `python predict.py --time`.
- The probabilities are the softmax of the logits. They were not calibrated, and an image of none of the classes gets
  one of them all the same.
- The pixels must be prepared as those of {data} were; see `preprocessing.json`.

## Versions

{versions}
"""


@dataclass(frozen=True)
class Subject:
    """What a card tells of. `records` are those of the whole run, `shape` the input's (channels, height, width)."""

    study: str
    pick: str
    record: Record
    baseline: Record | None
    records: Sequence[Record]
    deployable: Deployable
    runtime: Runtime
    packages: Mapping[str, str]
    classes: int
    shape: tuple[int, int, int]


def model_card(subject: Subject) -> str:
    """The card as Markdown. Names that others chose are shown as they are, and never read as Markdown."""
    record, recipe = subject.record, subject.record.recipe
    channels, height, width = subject.shape
    return _CARD.format(
        title=_escaped(f"{subject.study}: record {record.id}"),
        shape=f"{channels} x {height} x {width}",
        classes=subject.classes,
        version=_code(record.versions.get("tricksearch", "?")),
        id=record.id,
        pick=_code(subject.pick),
        files=", ".join(_code(file.name) for file in subject.deployable.files),
        format=_code(subject.deployable.format),
        precision=_code(subject.deployable.precision),
        runtime=_escaped(subject.runtime.name),
        net=_code(recipe["net"]["name"]),
        epochs=recipe["train"]["epochs"],
        data=_code(recipe["data"]["name"]),
        seed=record.seed,
        channels=channels,
        height=height,
        width=width,
        tricks=_tricks(record),
        measures=_measures(record, subject.baseline),
        n=record.validation_images,
        error=_sampling_error(record),
        runs=record.latency_runs,
        batch=recipe["latency"]["batch"],
        threads=subject.runtime.threads or recipe["latency"]["threads"],
        machine=_escaped(machine_line(record.hardware)),
        tried=_tried(subject.records),
        versions=_table(("package", "version"), [(_code(a), _code(b)) for a, b in _versions(subject).items()]),
    )


def _tricks(record: Record) -> str:
    rows = [
        (_code(name), ", ".join(_code(f"{field} = {json.dumps(value)}") for field, value in values.items()) or "-")
        for name, values in record.tricks.items()
    ]
    return _table(("trick", "values"), rows) if rows else "None: this is the plain recipe."


def _measures(record: Record, baseline: Record | None) -> str:
    rows = []
    for name, measure in MEASURES.items():
        mine = record.value(name)
        if mine is None:
            continue
        plain = baseline.value(name) if baseline is not None else None
        rows.append((measure.title, measure.text(mine), measure.text(plain), _difference(measure, mine, plain)))
    return _table(("measure", "this model", "plain baseline", "difference"), rows)


def _difference(measure: Measure, mine: float, plain: float | None) -> str:
    difference = measure.difference(mine, plain)
    return f"{difference} points" if difference and measure.percent else difference or "-"


def _sampling_error(record: Record) -> str:
    if record.accuracy is None or not record.validation_images:
        return ""
    share = record.accuracy / 100
    points = 100 * math.sqrt(share * (1 - share) / record.validation_images)
    return f"\nThe choice of these n images alone gives the accuracy a standard error of {points:.2f} points."


def _tried(records: Sequence[Record]) -> str:
    def count(number: int, word: str) -> str:
        return f"{number:,} {word}{'' if number == 1 else 's'}"

    trials = len({each.trial for each in records})
    rejected = sum(each.status == REJECTED for each in records)
    stopped = sum(each.status == STOPPED for each in records)
    failed = sum(not each.finished for each in records) - rejected - stopped
    tricks = sorted({name for each in records for name in each.tricks})
    return (
        f"{count(trials, 'trial')} gave {count(len(records), 'record')}: {rejected} rejected by a constraint before "
        f"training, {stopped} stopped early, {failed} without a result.\n"
        f"Tricks that were tried: {', '.join(map(_code, tricks)) or 'none'}."
    )


def _versions(subject: Subject) -> dict[str, str]:
    return {**subject.record.versions, **subject.packages}


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _one_line(text: object) -> str:
    return "".join(each if each.isprintable() else " " for each in " ".join(str(text).split()))


def _escaped(text: object) -> str:
    """Text that Markdown shows as it is, in one line.

    >>> _escaped("a|b <i>*c*")
    'a\\\\|b \\\\<i\\\\>\\\\*c\\\\*'
    """
    return "".join(f"\\{each}" if each in "\\`*_[]<>#|~&!$" else each for each in _one_line(text))


def _code(text: object) -> str:
    """The same, as code where that is possible.

    >>> _code("a_b"), _code("a`b")
    ('`a_b`', 'a\\\\`b')
    """
    line = _one_line(text)
    return f"`{line}`" if line and not {"`", "|"} & set(line) else _escaped(line)
