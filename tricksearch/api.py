"""The Python API: run a study, and read what a run folder holds.

>>> import tricksearch
>>> run = tricksearch.run("studies/digits.yaml", out="runs/digits")  # doctest: +SKIP
>>> run.front()  # doctest: +SKIP
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tricksearch.records.averages import shown
from tricksearch.records.record import Record, columns
from tricksearch.search.observer import Observer
from tricksearch.store.changed_code import ChangedTricks
from tricksearch.store.run import StoredRun
from tricksearch.study.study import Study, load_study

if TYPE_CHECKING:
    import pandas as pd

    from tricksearch.verdicts.findings import Findings


class Run:
    """What a run folder holds, read when it was opened; `tricksearch.open` the folder again for what came later.

    Tables are pandas data frames. Accuracy is in percent, latency in ms, and every measure is that of the exported
    file; recipes that ran with several seeds stand in `front` and `best` with their mean.
    """

    def __init__(
        self, folder: Path, study: Study, records: list[Record], findings: Findings, url: str | None = None
    ) -> None:
        self._url = url
        self.folder, self.study, self.findings = folder, study, findings
        self._records = records

    def records(self) -> pd.DataFrame:
        """One row for each record, failures included: `id`, `names` of the tricks that are on, then its fields.

        `recipe`, `hardware` and other mappings are Python mappings.
        """
        return _frame(self._records)

    def front(self) -> pd.DataFrame:
        """The recipes that keep the constraints and that no other dominates, by the second objective."""
        return _frame(self.study.goals.front_of_means(shown(self._records)))

    def best(self) -> Record | None:
        """The knee of the front, its best compromise; None where nothing has finished."""
        return self.study.goals.knee_of_means(shown(self._records))

    def verdicts(self) -> pd.DataFrame:
        """One row for each verdict, as in verdicts.csv; empty where no designed phase has run."""
        import pandas as pd

        from tricksearch.verdicts.table import COLUMNS, rows

        return pd.DataFrame(rows(self.findings), columns=list(COLUMNS))

    def figure(self) -> Any:
        """A Plotly figure of the first two objectives."""
        from tricksearch.report.figure import figure

        return figure(self._records, self.study.goals)

    def write(self) -> Path:
        """Write the tables and the page into the run folder again, as `tricksearch report` does; returns the page.

        Raises InputError where a file cannot be written.
        """
        from tricksearch.report.results import REPORT, write_results

        write_results(self.folder, self.study, self._records, self.findings)
        return self.folder / REPORT

    def export(self, pick: str = "knee", to: str | Path | None = None) -> Path:
        """Write a record's model to a folder that runs without tricksearch, and return the folder.

        `pick` is "knee", "best", a limit such as "latency_ms <= 2", or a record's id. By default the folder is
        export/<id> in the run folder. Raises InputError where nothing can be picked, TrialError where the model
        cannot be made again as it was measured.
        """
        from tricksearch.ship.export import export_run
        from tricksearch.trial.data.loaded import forget_data

        forget_data()

        return export_run(self.folder, pick, None if to is None else Path(to), url=self._url).exported.folder

    def __repr__(self) -> str:
        finished = sum(record.finished for record in self._records)
        return f"<Run of '{self.study.name}' in {self.folder}: {len(self._records)} records, {finished} finished>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the run in a line, and its front."""
        columns = ["id", *self.study.objectives, "runs", "names"]
        front = self.front()[columns].to_html(index=False, border=0, escape=True)
        return f"<p>{html.escape(repr(self)[1:-1])}; its front:</p>{front}"


def run(
    study: str | Path | Study,
    out: str | Path | None = None,
    observer: Observer | None = None,
    *,
    workers: int | None = None,
    address: str | None = None,
    local: bool = False,
    changed_tricks: ChangedTricks | None = None,
) -> Run:
    """Run a study, or go on with one that was interrupted; write its tables and its page, and return what came of it.

    `study` is a file's path or a loaded study, `out` the run folder, by default runs/<name of the study>. `observer`
    is told how it goes. `workers` is the number of trials at a time, `address` that of a Ray cluster; with `local`
    the trials run one after another in this process, without Ray. `changed_tricks`, "set-aside" or "keep", says what
    becomes of records whose trick has another code by now; without it such a run is refused. Raises InputError before
    anything trains for what cannot work. After a KeyboardInterrupt the tables are written, and the same call goes on.
    """
    from tricksearch.search.driver import run_study
    from tricksearch.trial.data.loaded import forget_data

    forget_data()
    loaded = study if isinstance(study, Study) else load_study(Path(study))
    folder = Path(out) if out is not None else Path("runs") / loaded.name
    written: list[Run] = []
    run_study(
        loaded,
        folder,
        observer or Observer(),
        workers=workers,
        address=address,
        local=local,
        changed_tricks=changed_tricks,
        at_end=lambda: written.append(_written(folder, loaded.store)),
    )
    return written[0]


def open(folder: str | Path, url: str | None = None) -> Run:  # as in io.open: tricksearch.open
    """What a run folder holds, whether its run has ended or not.

    `url` is that of a store in a database, where its password is neither in PGPASSWORD nor in ~/.pgpass. Raises
    InputError where the folder is that of no run, or its store cannot be read.
    """
    from tricksearch.search.phases.findings import findings_or_why

    with StoredRun.open(Path(folder), url, read_only=True) as stored:
        study = stored.study
        return Run(Path(folder), study, stored.records(), findings_or_why(study, stored.store), url)


def _written(folder: Path, url: str | None) -> Run:
    opened = open(folder, url)
    opened.write()
    return opened


def _frame(records: list[Record]) -> pd.DataFrame:
    import pandas as pd

    rows = [{"id": record.id, "names": " + ".join(sorted(record.tricks)), **record.to_json()} for record in records]
    return pd.DataFrame(rows, columns=["id", "names", *columns()])
