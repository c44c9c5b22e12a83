"""What the commands do. Apart from app.py, so that `--help` imports nothing heavy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tricksearch.cli import text
from tricksearch.cli.terminal import Terminal
from tricksearch.contract.errors import InputError, nearest
from tricksearch.trial.averages import averaged
from tricksearch.trial.bounds import baseline_of
from tricksearch.trial.record import MEASURES, SEARCH_PHASES, STOPPED, Record, machine_line
from tricksearch.trial.settings import DataSettings

if TYPE_CHECKING:
    from tricksearch.search.study import Study
    from tricksearch.verdicts.findings import Findings

REPORT = "report.html"


def run_command(
    path: Path,
    out: Path | None,
    trials: int | None,
    seed: int | None,
    workers: int | None,
    address: str | None,
    local: bool,
    reproducible: bool,
    phases: str | None,
    quiet: bool,
) -> None:
    """Run a study and show what came of it."""
    if local and (address or workers):
        raise InputError(
            "--local runs trials one after another in this process",
            remedy="leave out --address and --workers",
        )
    terminal = Terminal()
    from tricksearch.search.phases.settings import named_phases
    from tricksearch.search.study import load_study

    study = load_study(path)
    changed: dict[str, Any] = {key: value for key, value in (("trials", trials), ("seed", seed)) if value is not None}
    if reproducible:
        changed["reproducible"] = True
    study = study.model_copy(update={"search": study.search.model_copy(update=changed)})
    if phases is not None:
        study = study.model_copy(update={"phases": named_phases(phases)})
    run_and_show(study, out or Path("runs") / study.name, terminal, workers, address, local, quiet)


def ablate_command(
    path: Path, around: str | None, seeds: int | None, out: Path | None, workers: int | None, local: bool, quiet: bool
) -> None:
    """Run the ablation of a study alone, in the study's run folder, and show what came of it."""
    terminal = Terminal()
    from tricksearch.search.study import load_study

    study = load_study(path)
    if around is not None and Path(around).suffix in (".yaml", ".yml"):
        around = str(Path(around).resolve())
    changed = {key: value for key, value in (("around", around), ("seeds", seeds)) if value is not None}
    ablate = study.ablate.model_copy(update=changed)
    study = study.model_copy(update={"ablate": ablate, "phases": ("ablate",)})
    run_and_show(study, out or Path("runs") / study.name, terminal, workers, None, local, quiet)


def run_and_show(
    study: Study,
    folder: Path,
    terminal: Terminal,
    workers: int | None,
    address: str | None,
    local: bool,
    quiet: bool,
) -> None:
    """Run a study in its folder, write what follows from its records, and show the main of it."""
    from tricksearch.cli.progress import Progress
    from tricksearch.cli.verdicts import digest
    from tricksearch.search.driver import run_study

    if study.trial == "train":
        _load_data(study.data, terminal, quiet)
    progress = Progress(terminal, folder, quiet)
    try:
        records = run_study(study, folder, progress, workers=workers, address=address, local=local)
    except KeyboardInterrupt:
        if progress.owned:
            _write_report(folder, study.store)
        raise
    finally:
        progress.close()
    findings = _write_report(folder, study.store)
    if not quiet:
        _show(terminal.console, records, study, folder, progress.why)
        if findings is not None:
            digest(terminal.console, findings, study.objectives, folder)
        terminal.console.print(f"Report: {folder / REPORT}", soft_wrap=True)
    if not any(record.finished for record in records):
        reasons = "; ".join(dict.fromkeys(record.reason for record in records if record.reason))
        raise RuntimeError(f"no trial finished: {reasons[:400]}")


def report_command(folder: Path) -> None:
    """Write the tables and the report of a run folder again."""
    from tricksearch.search.folder import read_store
    from tricksearch.search.outputs import write_outputs
    from tricksearch.search.phases.tables import write_verdicts
    from tricksearch.search.study import Study

    store = read_store(folder)
    try:
        plain = store.fact("study")
        if plain is None:
            raise InputError("the store holds no study", place=str(folder), remedy="name the folder of a run")
        write_outputs(folder, Study.model_validate(plain), store.records())
        write_verdicts(folder, Study.model_validate(plain), store)
    finally:
        store.close()
    _write_report(folder)
    Console(highlight=False).print(f"Wrote {folder / REPORT}", soft_wrap=True)


def tricks_command(name: str | None, folders: list[Path]) -> None:
    """List the tricks, or show one."""
    from tricksearch.contract import card, discover, stages
    from tricksearch.trial.document import unavailable

    registry = discover(folders)
    console = Console(highlight=False)
    if name is not None:
        if name not in registry:
            raise InputError(f"there is no trick '{name}'", remedy=nearest(name, registry))
        _show_trick(console, registry[name])
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("trick", "claims", "changes", "what it does"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "trick")
    for each, trick in registry.items():
        absent = unavailable(each, registry)
        does = card(trick).does + (f" [not available here: {absent}]" if absent else "")
        table.add_row(each, trick.claims or "-", ", ".join(stages(trick)), Text(does))
    console.print(table)
    console.print("\n'tricksearch tricks NAME' shows a trick's card and its search space.")


def check_command(path: Path) -> None:
    """Check a study without training."""
    terminal = Terminal()
    from tricksearch.search.driver import check_study
    from tricksearch.search.space import Space
    from tricksearch.search.study import load_study
    from tricksearch.trial.run import cached_data

    study = load_study(path)
    _load_data(study.data, terminal)
    registry = check_study(study)
    data = cached_data(study.data)
    size = Space.of(study, registry).size()
    on = [name for name, use in study.tricks.items() if use.use != "never"]
    lines = [
        f"{path}: nothing wrong found.",
        f"data: {data.name}, {len(data.classes)} classes; "
        f"{len(data.train)} training, {len(data.validation)} validation and {len(data.test)} test images of "
        f"{' x '.join(str(side) for side in data.train.pixels.shape[1:])}",
        f"net: {study.net.name}; {study.train.epochs} epochs",
        f"tricks: {', '.join(on)}",
        f"search: {study.search.trials} trials; the space has {f'{size:,}' if size else 'endlessly many'} recipes",
    ]
    lines += [f"left out: {name}, {reason}" for name, reason in study.left_out.items()]
    for each in lines:
        terminal.console.print(each, markup=False)


def trial_command(path: Path, seed: int | None) -> None:
    """Run one trial here."""
    debug = bool(os.environ.get("TRICKSEARCH_DEBUG"))
    terminal = None if debug else Terminal()
    console = terminal.console if terminal else Console(highlight=False)
    from tricksearch.trial.document import load_recipe
    from tricksearch.trial.run import run_trial

    recipe, own_seed = load_recipe(path)
    _load_data(recipe.data, terminal)
    record = run_trial(
        recipe,
        own_seed if seed is None else seed,
        cache=Path("runs") / ".cache",
        note=lambda stage: console.print(f"{stage} ...", style="dim"),
        reraise=(Exception,) if debug else (InputError,),
    )[0]
    if not record.finished:
        raise RuntimeError(f"the trial {record.status}: {record.reason}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for name, measure in MEASURES.items():
        table.add_row(measure.title, text.value(name, getattr(record, name)))
    console.print(table)
    console.print(
        f"seed {record.seed}; n = {record.validation_images} validation images, {record.latency_runs} timed calls; "
        f"batch {recipe.latency.batch}, {recipe.latency.threads} thread(s); {machine_line(record.hardware)}"
    )
    if record.device_ms is not None:
        p95 = record.device_p95_ms or float("nan")
        console.print(f"on the GPU alone, by its own events: {record.device_ms:.3f} ms, p95 {p95:.3f} ms")
    if record.latency_note:
        console.print(f"latency: {record.latency_note}", markup=False)


def doctor_command() -> None:
    """Show what is here and what is missing. Exits with 1 where a needed package is missing."""
    import shutil
    import tempfile

    from tricksearch.contract import discover
    from tricksearch.trial.document import unavailable
    from tricksearch.trial.hardware import hardware, versions
    from tricksearch.trial.precision import choose_precision
    from tricksearch.trial.settings import TrainSettings

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    found = versions()
    for package, version in found.items():
        table.add_row(package, version)
    table.add_row("machine", machine_line(hardware()))
    precision = choose_precision(TrainSettings())
    layout = "channels last" if precision.channels_last else "contiguous"
    table.add_row("training", f"{precision.device}, {str(precision.dtype).removeprefix('torch.')}, {layout}")
    table.add_row("free disk", f"{shutil.disk_usage('.').free / 2**30:.1f} GiB here, "
                  f"{shutil.disk_usage(tempfile.gettempdir()).free / 2**30:.1f} GiB for scratch files")  # fmt: skip
    console.print(table)
    missing = [package for package, version in found.items() if version == "absent"]
    registry = discover()
    for name in registry:
        if reason := unavailable(name, registry):
            console.print(f"left out of searches here: {name}, {reason}", markup=False)
    if missing:
        console.print(f"missing: {', '.join(missing)}; install with: pip install {' '.join(missing)}", markup=False)
        raise typer.Exit(1)
    console.print("Nothing is missing.")


def _show_trick(console: Console, trick: Any) -> None:
    from tricksearch.contract import card, defaults, domains, hooks, source_file

    about = card(trick)
    console.print(f"[bold]{about.name}[/]")
    console.print(about.does, markup=False)
    facts = Table.grid(padding=(0, 2))
    for label, content in (
        ("paper", about.paper),
        ("use when", about.use_when),
        ("avoid when", about.avoid_when),
        ("cost", about.cost),
        ("hooks", ", ".join(hooks(trick))),
        ("claims", trick.claims or "-"),
        ("file", str(source_file(trick))),
    ):
        facts.add_row(label, Text(content))
    console.print(facts)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("hyperparameter", "default", "search space"):
        table.add_column(heading)
    values = defaults(trick)
    for field, domain in domains(trick).items():
        space = domain.describe() + ("" if domain.searched else " (searched only where a study lists values)")
        table.add_row(field, Text(json.dumps(values[field])), Text(space))
    console.print()
    console.print(table)


def _load_data(settings: DataSettings, terminal: Terminal | None, quiet: bool = False) -> None:
    """Load the data while its progress can be seen; what follows finds it in memory."""
    from tricksearch.trial.run import cached_data

    if terminal is None:
        cached_data(settings, print)
    elif quiet:
        cached_data(settings)
    else:
        with terminal.shown():
            cached_data(settings, lambda line: terminal.console.print(line, markup=False))


def _write_report(folder: Path, url: str | None = None) -> Findings | None:
    """Write the page, and return what it tells of the tricks."""
    from tricksearch.report.page import write_report
    from tricksearch.search.folder import read_store
    from tricksearch.search.phases.findings import findings_or_why
    from tricksearch.search.study import Study

    store = read_store(folder, url)
    try:
        records = store.records()
        study = dict(store.fact("study") or {})
        findings = findings_or_why(Study.model_validate(study), store) if study else None
    finally:
        store.close()
    machines = list(dict.fromkeys(machine_line(record.hardware) for record in records if record.hardware))
    if len(machines) > 1:
        machines = [f"{len(machines)} different machines, whose latencies do not compare: {'; '.join(machines)}"]
    study |= {"hardware": {"cpu": "".join(machines)}}
    write_report(records, study, folder / REPORT, findings)
    return findings


def _show(console: Console, records: list[Record], study: Any, folder: Path, why: str) -> None:
    from tricksearch.search.outputs import best_of, front_of

    if study.trial == "simulated":
        console.print("Simulated: nothing was trained.", style="bold")
    front = front_of(records, study)
    trials = sum(record.variant == 0 for record in records)
    searched = sum(record.variant == 0 and record.phase in SEARCH_PHASES for record in records)
    stopped = sum(record.status == STOPPED for record in records)
    failed = sum(not record.finished for record in records) - stopped
    means = averaged(records)
    baseline = baseline_of(means)
    again = sum(each.runs > 1 for each in means)
    images = next((record.validation_images for record in records if record.finished), 0)
    console.print(
        f"{text.count(trials, 'trial')}, {text.count(len(records), 'record')}, {failed} of them without a result"
        f"{f', {stopped} stopped early' if stopped else ''}; {images} validation images each; "
        f"{f'{again} of {len(means)} recipes ran again and stand with their mean' if again else 'one run each'}."
    )
    if "search" in study.phases and searched < study.search.trials and not why:
        console.print(f"The search ended below {study.search.trials} trials: no recipe is left that was not tried.")
    if not front:
        return
    rows = [*([baseline] if baseline and baseline not in front else []), *front]
    console.print(
        text.table(rows, study.objectives, baseline, f"The front ({text.count(len(front), 'record')}) and the baseline")
    )
    best = best_of(records, study)
    if best is not None:
        console.print(f"The knee of the front is trial {best.id}: {folder / 'best.yaml'}", soft_wrap=True)
