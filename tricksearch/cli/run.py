"""`run` and `ablate`. Apart from app.py, so that `--help` imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tricksearch.cli import formats
from tricksearch.cli.terminal import Terminal
from tricksearch.contract.errors import InputError
from tricksearch.records.averages import shown
from tricksearch.records.constraints import baseline_of, not_in_force
from tricksearch.records.record import SEARCH_PHASES, STOPPED, Record
from tricksearch.records.settings import DataSettings
from tricksearch.records.timing import machine_moved, ties_line

if TYPE_CHECKING:
    from tricksearch.store.changed_code import ChangedTricks
    from tricksearch.study.study import Study


@dataclass(frozen=True)
class RunOptions:
    """Where and how a study runs, as the command line says it."""

    out: Path | None = None  # the run folder; None: runs/<name of the study>
    workers: int | None = None
    address: str | None = None  # of a Ray cluster
    local: bool = False
    quiet: bool = False
    changed_tricks: ChangedTricks | None = None  # what becomes of records whose trick has another code now


@dataclass(frozen=True)
class StudyOptions:
    """What the command line says in place of the study file; None where it leaves that to the file."""

    trials: int | None = None
    seed: int | None = None
    reproducible: bool = False
    phases: str | None = None


def run_command(path: Path, changes: StudyOptions, options: RunOptions) -> None:
    """Run a study and show what came of it."""
    if options.local and (options.address or options.workers):
        raise InputError(
            "--local runs trials one after another in this process",
            remedy="leave out --address and --workers",
        )
    terminal = Terminal()
    from tricksearch.study.settings import named_phases
    from tricksearch.study.study import load_study

    study = load_study(path)
    search: dict[str, Any] = {
        key: value for key, value in (("trials", changes.trials), ("seed", changes.seed)) if value is not None
    }
    if changes.reproducible:
        search["reproducible"] = True
    study = study.model_copy(update={"search": study.search.model_copy(update=search)})
    if changes.phases is not None:
        study = study.model_copy(update={"phases": named_phases(changes.phases)})
    run_and_show(study, terminal, options)


def ablate_command(path: Path, around: str | None, seeds: int | None, options: RunOptions) -> None:
    """Run the ablation of a study alone, in the study's run folder, and show what came of it."""
    terminal = Terminal()
    from tricksearch.study.study import load_study

    study = load_study(path)
    if around is not None and Path(around).suffix in (".yaml", ".yml"):
        around = str(Path(around).resolve())
    changed = {key: value for key, value in (("around", around), ("seeds", seeds)) if value is not None}
    ablate = study.ablate.model_copy(update=changed)
    run_and_show(study.model_copy(update={"ablate": ablate, "phases": ("ablate",)}), terminal, options)


def run_and_show(study: Study, terminal: Terminal, options: RunOptions) -> None:
    """Run a study in its folder, write what follows from its records, and show the main of it."""
    from tricksearch import api
    from tricksearch.cli.progress import Progress
    from tricksearch.cli.verdicts import digest
    from tricksearch.report.results import REPORT
    from tricksearch.search.driver import run_study

    folder = options.out or Path("runs") / study.name
    if study.trial == "train":
        load_shown(study.data, terminal, options.quiet)
    progress = Progress(terminal, folder, options.quiet)
    written: list[api.Run] = []

    def write() -> None:
        written.append(api.open(folder, study.store))
        written[0].write()

    try:
        records = run_study(
            study,
            folder,
            progress,
            workers=options.workers,
            address=options.address,
            local=options.local,
            changed_tricks=options.changed_tricks,
            at_end=write,
        )
    finally:
        progress.close()
    if not options.quiet:
        _show(terminal.console, records, study, folder, progress.why)
        digest(terminal.console, written[0].findings, study.objectives, folder)
        terminal.console.print(f"Report: {folder / REPORT}", soft_wrap=True)
    if not any(record.finished for record in records):
        reasons = "; ".join(dict.fromkeys(record.reason for record in records if record.reason))
        raise RuntimeError(f"no trial finished: {reasons[:400]}")


def load_shown(settings: DataSettings, terminal: Terminal | None, quiet: bool = False, notes: bool = True) -> None:
    """Load the data while its progress can be seen; what follows finds it in memory.

    With `notes`, what a person should know of how the files were read is printed too.
    """
    from tricksearch.trial.data.loaded import cached_data

    if terminal is None:
        cached_data(settings, print)
    elif quiet:
        cached_data(settings)
    else:
        with terminal.shown():
            data = cached_data(settings, lambda line: terminal.console.print(line, markup=False))
        for note in data.notes if notes else ():
            terminal.console.print(f"data: {note}", markup=False)


def _show(console: Console, records: list[Record], study: Study, folder: Path, why: str) -> None:
    if study.trial == "simulated":
        console.print("Simulated: nothing was trained.", style="bold")
    means = shown(records)
    front = study.goals.front_of_means(means)
    trials = sum(record.variant == 0 for record in records)
    searched = sum(record.variant == 0 and record.phase in SEARCH_PHASES for record in records)
    stopped = sum(record.status == STOPPED for record in records)
    failed = sum(not record.finished for record in records) - stopped
    baseline = baseline_of(means)
    again = sum(mean.runs > 1 for mean in means)
    images = next((record.validation_images for record in records if record.finished), 0)
    console.print(
        f"{formats.count(trials, 'trial')}, {formats.count(len(records), 'record')}, {failed} of them without a result"
        f"{f', {stopped} stopped early' if stopped else ''}; {images} validation images each; "
        f"{f'{again} of {len(means)} recipes ran again and stand with their mean' if again else 'one run each'}."
    )
    if "search" in study.phases and searched < study.search.trials and not why:
        console.print(f"The search ended below {study.search.trials} trials: no recipe is left that was not tried.")
    for sentence in (not_in_force(study.constraints, means), machine_moved(means), ties_line(means)):
        if sentence:
            console.print(sentence, markup=False)
    if not front:
        return
    rows = [*([baseline] if baseline and baseline not in front else []), *front]
    console.print(
        formats.table(
            rows, study.objectives, baseline, f"The front ({formats.count(len(front), 'record')}) and the baseline"
        )
    )
    best = study.goals.knee_of_means(means)
    if best is not None:
        console.print(f"The knee of the front is trial {best.id}: {folder / 'best.yaml'}", soft_wrap=True)
