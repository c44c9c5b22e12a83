"""What the phases leave beside the store: verdicts.csv and minimal.yaml."""

from __future__ import annotations

from pathlib import Path

from tricksearch.search.outputs import replace_file
from tricksearch.search.phases.findings import minimal_tricks
from tricksearch.search.store import Store
from tricksearch.search.study import Study
from tricksearch.verdicts.findings import Findings
from tricksearch.verdicts.table import COLUMNS, rows

VERDICTS, MINIMAL = "verdicts.csv", "minimal.yaml"


def write_verdicts(folder: Path, study: Study, store: Store, findings: Findings) -> None:
    """Write the verdicts and the minimal recipe, each in one step; what no longer holds is taken away."""
    import pandas as pd

    if findings.verdicts:
        table = pd.DataFrame(rows(findings), columns=list(COLUMNS))
        replace_file(folder / VERDICTS, lambda path: table.to_csv(path, index=False))
    else:
        (folder / VERDICTS).unlink(missing_ok=True)
    tricks = minimal_tricks(study, store)
    if tricks is None or findings.minimal is None:
        (folder / MINIMAL).unlink(missing_ok=True)
        return
    spared = ", ".join(findings.minimal.dropped)
    heading = (
        f"The recipe of '{study.name}' around {findings.minimal.around} without {spared}, whose effect is not shown.\n"
        "It was run and is as good within the study's margins. Run it with: tricksearch trial minimal.yaml"
    )
    text = study.recipe(tricks).to_yaml(heading)
    replace_file(folder / MINIMAL, lambda path: path.write_text(text, encoding="utf-8"))
