"""What `export`, `verify` and `cache` do. Apart from app.py, so that `--help` imports nothing heavy."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from tricksearch.cli import formats
from tricksearch.cli.terminal import Terminal
from tricksearch.contract.errors import InputError
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import machine_line
from tricksearch.records.timing import with_error

_SPEED = {None: "not judged", 0: "agrees", -1: "faster", 1: "DIFFERS"}
UNITS = {"": 1, "B": 1} | {
    f"{prefix}{kind}": base**power
    for power, prefix in enumerate("KMGT", 1)
    for kind, base in (("B", 1000), ("IB", 1024))
}


def export_command(folder: Path, pick: str, to: Path | None) -> None:
    """Ship a record of a run."""
    console, note = _console()
    from tricksearch.ship.export import export_run

    shipped = export_run(folder, pick, to, note)
    exported, record = shipped.exported, shipped.exported.record
    if shipped.made_again:
        console.print(f"made again: {', '.join(shipped.made_again)}; the accuracy is the record's")
    console.print(f"Exported record {record.id} to {exported.folder}", markup=False, soft_wrap=True)
    measured = (
        f"accuracy {MEASURES['accuracy'].text(record.accuracy)} (n = {record.validation_images} validation images), "
        f"latency {with_error(record, 'latency_ms')} (n = {record.latency_runs} calls)"
    )
    line = f"{exported.deployable.path.name} for {exported.runtime.name}: {measured}"
    console.print(line, markup=False, soft_wrap=True)
    console.print("README.md there is its model card; 'tricksearch verify' measures it again.")


def verify_command(folder: Path) -> None:
    """Measure an exported folder again. Exits with 1 where it differs from its record."""
    console, note = _console()
    from tricksearch.records.hardware import hardware
    from tricksearch.ship.verify import TOLERANCE, verify_folder

    comparison = verify_folder(folder, note)
    record, scores, timing = comparison.exported.record, comparison.scores, comparison.timing
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("", "record", "here", ""):
        table.add_column(heading)
    then = round((record.accuracy or 0) * (record.validation_images or 0) / 100)
    table.add_row(
        "right images",
        f"{then} of {record.validation_images}",
        f"{round(scores.accuracy * scores.n / 100)} of {scores.n}",
        "agrees" if comparison.accuracy_agrees else "DIFFERS",
    )
    table.add_row(
        "accuracy", MEASURES["accuracy"].text(record.accuracy), MEASURES["accuracy"].text(scores.accuracy), ""
    )
    ratio, ms = MEASURES["latency_ratio"], MEASURES["latency_ms"]
    if timing is not None:
        table.add_row(
            ratio.title,
            ratio.text(record.value("latency_ratio")),
            ratio.text(comparison.ratio),
            _SPEED[comparison.slower],
        )
        table.add_row("latency", ms.text(record.latency_ms), ms.text(timing.ms), "")
        then_ms = record.timing.get("refers_to_ms")
        table.add_row("the plain net's file", ms.text(then_ms), ms.text(timing.baseline_ms), "")
        table.add_row("timed calls", str(record.latency_runs), str(timing.runs), "")
    console.print(table)
    console.print(f"here: {machine_line(hardware())}", markup=False, soft_wrap=True)
    if timing is None:
        console.print("An earlier version exported this folder, without the plain net's file: no latency is compared.")
    if not comparison.same_hardware:
        console.print(f"record: {machine_line(record.hardware)}", markup=False, soft_wrap=True)
        console.print("On other hardware a latency is shown and not judged.")
    for name, (measured, here) in comparison.other_versions.items():
        console.print(f"{name} {here} here, {measured} in the record", markup=False)
    if not comparison.agrees:
        console.print(
            f"It differs from its record. The accuracy must be the same to the last image, and the latency as a ratio "
            f"to the plain net's no more than {100 * TOLERANCE:.0f} % beyond its interval above the record's."
        )
        raise typer.Exit(1)
    faster = ", and is faster here" if comparison.slower == -1 else ""
    console.print(f"It agrees with its record{faster}.")


def cache_command(folder: Path, keep: str | None) -> None:
    """Show what a cache holds, and drop what was used longest ago."""
    keep_bytes = None if keep is None else parsed_size(keep)
    from tricksearch.store.stage_cache import cache_of, prune

    console = Console(highlight=False)
    cache = cache_of(folder)
    if keep_bytes is not None:
        gone, freed = prune(folder, keep_bytes)
        console.print(f"Dropped {gone:,} of the entries, {_megabytes(freed)}.")
    entries = cache.usage()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("stage")
    for heading in ("entries", "size", "last used"):
        table.add_column(heading, justify="right")
    stages = list(dict.fromkeys(entry.stage for entry in entries))
    for stage in stages:
        own = [entry for entry in entries if entry.stage == stage]
        ago = formats.duration(max(0.0, time.time() - max(record.used for record in own)))
        table.add_row(stage, f"{len(own):,}", _megabytes(sum(record.size for record in own)), f"{ago} ago")
    table.add_row("all", f"{len(entries):,}", _megabytes(sum(entry.size for entry in entries)), "")
    console.print(table)
    console.print(f"in {cache.folder}", markup=False, soft_wrap=True)


def parsed_size(size: str) -> int:
    """Bytes of a size with a unit. Raises InputError.

    >>> parsed_size("5GB"), parsed_size("1.5 MiB"), parsed_size("0")
    (5000000000, 1572864, 0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", size)
    unit = match[2].upper() if match else ""
    # A bare number is more likely a slip than a number of bytes, and would empty the cache.
    if match is None or unit not in UNITS or (not unit and float(match[1])):
        raise InputError(f"'{size}' is no size", place="--keep", remedy="write '5GB', '500MB' or '0'")
    return int(float(match[1]) * UNITS[unit])


def _console() -> tuple[Console, Callable[[str], None]]:
    """The console, kept free of what libraries print, and what tells of a stage."""
    debug = bool(os.environ.get("TRICKSEARCH_DEBUG"))
    console = Console(highlight=False) if debug else Terminal().console
    return console, lambda stage: console.print(f"{stage} ...", style="dim")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.2f} MB"
