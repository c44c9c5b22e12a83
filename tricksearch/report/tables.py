"""The tables that a run leaves beside its store. All is derived from the store."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tricksearch.records.averages import shown
from tricksearch.records.files import replace_file
from tricksearch.records.measures import MEASURES
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record, columns
from tricksearch.study.study import Study
from tricksearch.verdicts.findings import Findings
from tricksearch.verdicts.table import COLUMNS, every_verdict, rows
from tricksearch.verdicts.text import SIMULATED

if TYPE_CHECKING:
    import pandas as pd

RECORDS, FRONT, BEST, VERDICTS, MINIMAL = (
    "records.parquet",
    "front.csv",
    "best.yaml",
    "verdicts.csv",
    "minimal.yaml",
)


def write_tables(folder: Path, study: Study, records: Sequence[Record], findings: Findings) -> None:
    """Write records.parquet, front.csv and best.yaml, verdicts.csv and minimal.yaml, each in one step.

    Raises OSError where a file cannot be written.
    """
    table = records_table(records)
    replace_file(folder / RECORDS, lambda path: table.to_parquet(path, index=False))
    means = shown(records)
    front = records_table(study.goals.front_of_means(means)).drop(columns=["hardware", "versions", "reason", "status"])
    front.insert(1, "confirmed", [member.confirmed for member in study.goals.front_of_means(means)])
    replace_file(folder / FRONT, lambda path: front.to_csv(path, index=False))
    best = study.goals.knee_of_means(means)
    if best is not None:
        _write_recipe(folder / BEST, best.recipe, _best_heading(study, best), f"seed: {best.seed}\n")
    else:
        (folder / BEST).unlink(missing_ok=True)
    _write_verdicts(folder, study, findings)


def _best_heading(study: Study, best: Record) -> str:
    measured = ", ".join(f"{name} {MEASURES[name].text(best.value(name))}" for name in study.objectives)
    simulated = f"{SIMULATED.upper()} " if study.trial == "simulated" else ""
    return (
        f"{simulated}The knee of the front of '{study.name}': trial {best.id}, seed {best.seed}.\n"
        f"{_how(best)}: {measured} "
        f"(n = {best.validation_images} validation images).\n"
        "Run it again with: tricksearch trial best.yaml"
    )


def _how(best: Record) -> str:
    if best.confirmed:
        return f"Confirmed: the mean of {best.confirmed} fresh run{'' if best.confirmed == 1 else 's'}"
    return "Measured once there" if best.runs == 1 else f"The mean of {best.runs} runs"


def _write_verdicts(folder: Path, study: Study, findings: Findings) -> None:
    """The verdicts and the minimal recipe; what no longer holds is taken away."""
    if findings.incomplete:
        return  # what a machine with all tricks wrote stays
    if every_verdict(findings):
        write_csv(findings, folder / VERDICTS)
    else:
        (folder / VERDICTS).unlink(missing_ok=True)
    minimal = findings.minimal
    if minimal is None or not minimal.holds:
        (folder / MINIMAL).unlink(missing_ok=True)
        return
    simulated = f"{SIMULATED.upper()} " if findings.simulated else ""
    heading = (
        f"{simulated}The recipe of '{study.name}' around {minimal.around} without {', '.join(minimal.dropped)},\n"
        "which are not shown to help. It was run and is as good within the study's margins.\n"
        "Run it with: tricksearch trial minimal.yaml"
    )
    _write_recipe(folder / MINIMAL, minimal.recipe, heading)


def _write_recipe(path: Path, recipe: Mapping[str, Any], heading: str, more: str = "") -> None:
    text = Recipe.model_validate(recipe).to_yaml(heading) + more
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def records_table(records: Sequence[Record]) -> pd.DataFrame:
    """One row for each record: its id, its fields, each measure as a column; mappings and lists are JSON texts."""
    import pandas as pd

    rows = []
    for record in records:
        row = {"id": record.id} | record.to_json()
        for column in ("keys", "recipe", "hardware", "versions", "reused", "throughputs", "effective", "timing"):
            row[column] = json.dumps(row[column], sort_keys=True)
        rows.append(row)
    table = pd.DataFrame(rows, columns=["id", *columns()])
    whole = [name for name, measure in MEASURES.items() if measure.whole]
    return table.astype(
        dict.fromkeys([*whole, "validation_images", "latency_runs", "latency_rounds"], "Int64")
    )  # some are missing


def write_csv(findings: Findings, path: Path) -> None:
    """Write verdicts.csv in one step; an empty field stands for None. Raises OSError."""

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows(findings))

    replace_file(path, write)
