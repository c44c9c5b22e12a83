"""What the phases leave beside the store: verdicts.csv and minimal.yaml."""

from __future__ import annotations

from pathlib import Path

from tricksearch.search.outputs import replace_file
from tricksearch.search.phases.findings import findings_or_why
from tricksearch.search.store import Store
from tricksearch.search.study import Study
from tricksearch.trial.recipe import Recipe
from tricksearch.verdicts.findings import Findings
from tricksearch.verdicts.table import FILE, every_verdict, write_csv

MINIMAL = "minimal.yaml"


def write_verdicts(folder: Path, study: Study, store: Store) -> Findings:
    """Write the verdicts and the minimal recipe, each in one step; what no longer holds is taken away."""
    findings = findings_or_why(study, store)
    if findings.notes and not findings.verdicts and not findings.members:
        return findings  # nothing could be said here: what another machine wrote stays
    if every_verdict(findings):
        write_csv(findings, folder / FILE)
    else:
        (folder / FILE).unlink(missing_ok=True)
    minimal = findings.minimal
    if minimal is None or not minimal.holds:
        (folder / MINIMAL).unlink(missing_ok=True)
        return findings
    spared = ", ".join(minimal.dropped)
    simulated = "SIMULATED: nothing was trained. " if findings.simulated else ""
    heading = (
        f"{simulated}The recipe of '{study.name}' around {minimal.around} without {spared},\n"
        "which are not shown to help. It was run and is as good within the study's margins.\n"
        "Run it with: tricksearch trial minimal.yaml"
    )
    text = Recipe.model_validate(minimal.recipe).to_yaml(heading)
    replace_file(folder / MINIMAL, lambda path: path.write_text(text, encoding="utf-8"))
    return findings
