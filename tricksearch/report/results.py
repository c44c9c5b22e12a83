"""What a run leaves for people: the tables and the page, written in one place from what is stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tricksearch.contract.errors import InputError
from tricksearch.records.record import Record, machine_line
from tricksearch.report.page import write_report
from tricksearch.report.tables import RECORDS, write_tables
from tricksearch.study.study import Study
from tricksearch.verdicts.findings import Findings

REPORT = "report.html"


def write_results(folder: Path, study: Study, records: Sequence[Record], findings: Findings) -> None:
    """Write the tables, where there are or were records, and the page. Raises InputError where that cannot be."""
    try:
        if records or (folder / RECORDS).exists():
            write_tables(folder, study, records, findings)
    except OSError as error:
        raise InputError(
            f"the tables cannot be written: {error.strerror or error}",
            place=str(folder),
            remedy="free some space there, or make the folder writable; what is stored is kept",
        ) from error
    write_report(records, described(study, records), folder / REPORT, findings)


def described(study: Study, records: Sequence[Record]) -> dict[str, Any]:
    """The study as plain JSON, under `hardware` the machines that its records come from, and their `versions`."""
    machines = list(dict.fromkeys(machine_line(record.hardware) for record in records if record.hardware))
    if len(machines) > 1:
        machines = [f"{len(machines)} different machines, whose latencies do not compare: {'; '.join(machines)}"]
    plain: dict[str, Any] = json.loads(study.model_dump_json())
    versions: dict[str, dict[str, None]] = {}
    for record in records:
        for name, version in record.versions.items():
            versions.setdefault(name, {})[version] = None
    ran = {name: " and ".join(several) for name, several in sorted(versions.items())}
    return plain | {"hardware": {"cpu": "".join(machines)}, "versions": ran}
