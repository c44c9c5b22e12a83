"""What a run leaves beside its store: tables, the resolved study, the best recipe. All is derived from the store."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tricksearch.search.study import Study
from tricksearch.trial.averages import averaged
from tricksearch.trial.bounds import feasible
from tricksearch.trial.hardware import hardware, versions
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.record import MEASURES, Record
from tricksearch.verdicts.front import front, knee

REPORT = "report.html"


def front_of(records: Sequence[Record], study: Study) -> list[Record]:
    """The recipes that keep the constraints and that no other such beats on every objective, by the second one.

    A recipe that ran with several seeds stands there with its mean.
    """
    objectives = study.objectives
    finished = [
        record
        for record in feasible(averaged(records), study.constraints)
        if all(getattr(record, name) is not None for name in objectives)
    ]
    if not finished:
        return []
    points = [[getattr(record, name) for name in objectives] for record in finished]
    chosen = front(points, [MEASURES[name].maximize for name in objectives])
    return sorted((finished[index] for index in chosen), key=lambda record: float(getattr(record, objectives[1])))


def best_of(records: Sequence[Record], study: Study) -> Record | None:
    """The knee of the front, or None where there is none."""
    candidates = front_of(records, study)
    if not candidates:
        return None
    objectives = study.objectives
    points = [[getattr(record, name) for name in objectives] for record in candidates]
    return candidates[knee(points, [MEASURES[name].maximize for name in objectives])]


def resolved(study: Study) -> dict[str, Any]:
    """The study with every default written out, and what it ran on."""
    plain: dict[str, Any] = json.loads(study.model_dump_json())
    return plain | {"hardware": hardware(), "versions": versions()}


def write_outputs(folder: Path, study: Study, records: Sequence[Record]) -> None:
    """Write records.parquet, front.csv, best.yaml and study.resolved.yaml, each in one step."""
    table = _table(records)
    replace_file(folder / "records.parquet", lambda path: table.to_parquet(path, index=False))
    chosen = _table(front_of(records, study)).drop(columns=["hardware", "versions", "reason", "status"])
    replace_file(folder / "front.csv", lambda path: chosen.to_csv(path, index=False))
    best = best_of(records, study)
    if best is not None:
        measured = ", ".join(
            f"{name} {getattr(best, name):.{MEASURES[name].digits}f}{_unit(name)}" for name in study.objectives
        )
        simulated = "SIMULATED: nothing was trained. " if study.trial == "simulated" else ""
        heading = (
            f"{simulated}The knee of the front of '{study.name}': trial {best.id}, seed {best.seed}.\n"
            f"{'Measured once there' if best.runs == 1 else f'The mean of {best.runs} runs'}: {measured} "
            f"(n = {best.validation_images} validation images).\n"
            "Run it again with: tricksearch trial best.yaml"
        )
        text = Recipe.model_validate(best.recipe).to_yaml(heading) + f"seed: {best.seed}\n"
        replace_file(folder / "best.yaml", lambda path: path.write_text(text, encoding="utf-8"))
    write_resolved(folder, study)


def write_resolved(folder: Path, study: Study) -> None:
    """Write study.resolved.yaml."""
    text = yaml.safe_dump(resolved(study), sort_keys=False, allow_unicode=True)
    replace_file(folder / "study.resolved.yaml", lambda path: path.write_text(text, encoding="utf-8"))


def _unit(name: str) -> str:
    unit = MEASURES[name].unit
    return f" {unit}" if unit else ""


def _table(records: Sequence[Record]) -> Any:
    import pandas as pd

    columns = list(Record.__dataclass_fields__)
    rows = []
    for record in records:
        row = record.to_json()
        for column in ("recipe", "hardware", "versions", "reused", "throughputs", "effective"):
            row[column] = json.dumps(row[column], sort_keys=True)
        rows.append(row)
    table = pd.DataFrame(rows, columns=columns)
    whole = ["params", "macs", "file_bytes", "memory_bytes", "validation_images", "latency_runs"]
    return table.astype(dict.fromkeys(whole, "Int64"))  # a trial that failed has none


def replace_file(path: Path, write: Any) -> None:
    """Write a file beside its place and move it there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
