"""Commands that look before a study runs: check, trial, doctor."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from tricksearch.cli.run import load_shown
from tricksearch.cli.terminal import Terminal
from tricksearch.contract.errors import InputError
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import machine_line
from tricksearch.records.settings import TrainSettings
from tricksearch.records.timing import with_error
from tricksearch.trial.training.augment import KINDS


def check_command(path: Path) -> None:
    """Check a study without training."""
    terminal = Terminal()
    from tricksearch.search.check import check_net_sees, check_study
    from tricksearch.search.space.space import Space
    from tricksearch.study.study import load_study
    from tricksearch.trial.data.loaded import cached_data

    study = load_study(path)
    with contextlib.suppress(InputError):  # it is told below, with the other problems
        load_shown(study.data, terminal, notes=False)
    registry = check_study(study)
    data = cached_data(study.data)
    notes = (
        *data.notes,
        *data.origins,
        augmentation_note(study.train, data.augment),
        *check_net_sees(study.base_recipe(), data),
    )
    size = Space.of(study, registry).size()
    on = [name for name, use in study.tricks.items() if use.use != "never"]
    lines = [
        f"{path}: nothing wrong found.",
        f"data: {data.name}, {len(data.classes)} classes; "
        f"{len(data.train)} training, {len(data.validation)} validation and {len(data.test)} test images of "
        f"{' x '.join(str(side) for side in data.train.pixels.shape[1:])}",
        *(f"data: {note}" for note in notes),
        f"net: {study.net.name}; {study.train.epochs} epochs",
        f"tricks: {', '.join(on)}",
        f"search: {study.search.trials} trials; the space has {f'{size:,}' if size else 'endlessly many'} recipes",
    ]
    lines += [f"left out: {name}, {reason}" for name, reason in study.left_out.items()]
    for line in lines:
        terminal.console.print(line, markup=False)


def augmentation_note(train: TrainSettings, of_data: str) -> str:
    """What is done to training images in every recipe, and how to have it otherwise."""
    kind = of_data if train.augment == "auto" else train.augment
    done = {
        "none": "neither mirrored nor shifted",
        "crop": "shifted by up to an eighth of each side, not mirrored",
        "flip_crop": "mirrored left to right at random, and shifted by up to an eighth of each side",
    }[kind]
    why = "as suits this data set; " if train.augment == "auto" else ""
    others = ", ".join(other for other in KINDS if other != kind)
    return f"training images are {done} ({why}train.augment: {kind}; else {others})"


def trial_command(path: Path, seed: int | None) -> None:
    """Run one trial here."""
    debug = bool(os.environ.get("TRICKSEARCH_DEBUG"))
    terminal = None if debug else Terminal()
    console = terminal.console if terminal else Console(highlight=False)
    from tricksearch.search.check import check_net_sees
    from tricksearch.study.recipe_file import load_recipe
    from tricksearch.trial.data.loaded import cached_data
    from tricksearch.trial.job import Job
    from tricksearch.trial.run import run_trial

    recipe, own_seed = load_recipe(path)
    load_shown(recipe.data, terminal)
    for note in check_net_sees(recipe, cached_data(recipe.data)):
        console.print(note, markup=False)
    record = run_trial(
        Job.of(recipe, own_seed if seed is None else seed, cache=Path("runs") / ".cache"),
        note=lambda stage: console.print(f"{stage} ...", style="dim"),
        reraise=(Exception,) if debug else (InputError,),
    )[0]
    if not record.finished:
        raise RuntimeError(f"the trial {record.status}: {record.reason}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for name, measure in MEASURES.items():
        table.add_row(measure.title, with_error(record, name))
    console.print(table)
    console.print(
        f"seed {record.seed}; n = {record.validation_images} validation images, {record.latency_runs} timed calls; "
        f"batch {recipe.latency.batch}, {recipe.latency.threads} thread(s); {machine_line(record.hardware)}"
    )
    if record.device_ms is not None:
        p95 = record.device_p95_ms or float("nan")
        console.print(f"on the GPU alone, by its own events: {record.device_ms:.3f} ms, p95 {p95:.3f} ms")
    yardstick = "the plain net's file" if record.timing["device"] == "cpu" else "a product of matrices on the GPU"
    console.print(
        f"The latency is its ratio to {yardstick}, "
        f"timed in turn with it in {record.latency_rounds} rounds, "
        f"while a call of that took {MEASURES['latency_ms'].text(record.timing['yardstick_ms'])} "
        f"({MEASURES['latency_ms'].text(record.timing['fastest_ms'])} at the machine's fastest).",
        markup=False,
    )
    if record.form:
        console.print(f"file: {record.form}", markup=False)
    if record.latency_note:
        console.print(f"latency: {record.latency_note}", markup=False)


def doctor_command() -> None:
    """Show what is here and what is missing. Exits with 1 where a needed package is missing."""
    import shutil
    import tempfile

    from tricksearch.contract import discover
    from tricksearch.records.hardware import hardware, versions
    from tricksearch.study.document import unavailable
    from tricksearch.trial.training.precision import choose_precision

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    installed = versions()
    for package, version in installed.items():
        table.add_row(package, version)
    table.add_row("machine", machine_line(hardware()))
    precision = choose_precision(TrainSettings())
    layout = "channels last" if precision.channels_last else "contiguous"
    table.add_row("training", f"{precision.device}, {str(precision.dtype).removeprefix('torch.')}, {layout}")
    table.add_row("free disk", f"{shutil.disk_usage('.').free / 2**30:.1f} GiB here, "
                  f"{shutil.disk_usage(tempfile.gettempdir()).free / 2**30:.1f} GiB for scratch files")  # fmt: skip
    console.print(table)
    missing = [package for package, version in installed.items() if version == "absent"]
    registry = discover()
    for name in registry:
        if reason := unavailable(name, registry):
            console.print(f"left out of searches here: {name}, {reason}", markup=False)
    if missing:
        console.print(f"missing: {', '.join(missing)}; install with: pip install {' '.join(missing)}", markup=False)
        raise typer.Exit(1)
    console.print("Nothing is missing.")
