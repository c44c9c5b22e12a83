"""`tricksearch report`, and the writing of a run's results for every command that ends with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from tricksearch.verdicts.findings import Findings


def report_command(folder: Path) -> None:
    """Write the tables and the report of a run folder again."""
    from tricksearch.report.results import REPORT

    write_run(folder)
    Console(highlight=False).print(f"Wrote {folder / REPORT}", soft_wrap=True)


def write_run(folder: Path, url: str | None = None) -> Findings:
    """Write everything that follows from a run's store, and return what it says of the tricks."""
    from tricksearch.report.results import write_results
    from tricksearch.search.phases.findings import findings_or_why
    from tricksearch.store.run import StoredRun

    with StoredRun.open(folder, url) as run:
        study, records = run.study, run.records()
        findings = findings_or_why(study, run.store)
    write_results(folder, study, records, findings)
    return findings
