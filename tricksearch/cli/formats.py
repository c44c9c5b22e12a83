"""How records read in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record
from tricksearch.records.timing import with_error


def tricks(record: Record) -> str:
    """The tricks that are on, in a few words."""
    if record.phase == "baseline":
        return "(plain baseline)"
    return " + ".join(sorted(record.tricks)) or "(none)"


def count(number: int, word: str) -> str:
    """A number with its noun.

    >>> count(1, "record"), count(2, "record")
    ('1 record', '2 records')
    """
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds for a person.

    >>> duration(75), duration(7300)
    ('1 min 15 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def line(record: Record, objectives: Sequence[str]) -> str:
    """One record in one plain line."""
    head = f"trial {record.id:>5}"
    if not record.finished:
        return f"{head}  {record.status}: {record.reason}  [{tricks(record)}]"
    measured = "  ".join(f"{name} {MEASURES[name].text(record.value(name))}" for name in objectives)
    return f"{head}  {measured}  {tricks(record)}"


def table(records: Sequence[Record], objectives: Sequence[str], baseline: Record | None, title: str) -> Table:
    """Records as rows, each objective with its difference from the baseline."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column("trial", justify="right", no_wrap=True)
    for name in objectives:
        made.add_column(name, justify="right", no_wrap=True)
    if baseline is not None:
        for _ in objectives:
            made.add_column("vs base", justify="right", no_wrap=True)
    again = any(record.runs > 1 for record in records)
    if again:
        made.add_column("runs", justify="right", no_wrap=True)
    made.add_column("tricks", overflow="fold")
    for record in records:
        cells: list[str | Text] = [
            record.id,
            *(with_error(record, name) for name in objectives),
        ]
        if baseline is not None:
            cells += [
                "" if record.id == baseline.id else MEASURES[name].difference(record.value(name), baseline.value(name))
                for name in objectives
            ]
        if again:
            cells.append(str(record.runs))
        made.add_row(*cells, tricks(record))
    return made
