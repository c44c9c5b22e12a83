"""What `plan` does. Apart from app.py, so that `--help` imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, median, variance
from typing import TYPE_CHECKING

from rich.table import Table

from tricksearch.cli import text
from tricksearch.cli.terminal import Terminal
from tricksearch.cli.verdicts import opened
from tricksearch.contract.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tricksearch.search.study import Study
    from tricksearch.trial.record import Record

MEASURE = "accuracy"


@dataclass(frozen=True)
class Noise:
    """What is known of a trial before the study runs."""

    sd: float  # of accuracy over seeds, points
    source: str
    seconds: float | None = None  # of a trial


def plan_command(path: Path, sd: float | None, like: Path | None) -> None:
    """Show how many runs the study's screen needs."""
    terminal = Terminal()
    console = terminal.console
    from tricksearch.contract import discover
    from tricksearch.search.space import Space
    from tricksearch.search.study import load_study
    from tricksearch.verdicts.decide import one_at_a_time, planned_power, runs_needed

    study = load_study(path)
    switches = Space.of(study, discover(study.plugins)).switches()
    tricks = sum(len(options) - 1 for options in switches.values())
    if not tricks:
        raise InputError(
            "no trick of this study is free to be on or off, so there is nothing to screen",
            place=str(path),
            remedy="name tricks under 'tricks' that are neither 'always' nor 'never'",
        )
    noise = _noise(study, path, sd, like)
    wanted, margin = study.verdicts, study.verdicts.margin(MEASURE)
    needed = runs_needed(noise.sd, margin, tricks, wanted.confidence, wanted.power)
    singly = one_at_a_time(noise.sd, margin, tricks, wanted.confidence, wanted.power)
    console.print(
        f"To show effects of {margin:g} points of accuracy (the margin) of {text.count(tricks, 'trick')}, with "
        f"{100 * wanted.confidence:g} % confidence over all of them together and a power of {100 * wanted.power:g} %:"
    )
    console.print(f"noise: standard deviation {noise.sd:.3g} points over seeds, {noise.source}", markup=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("runs", "power", "time"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for runs in _rungs(needed, study.screen.runs, tricks):
        marks = ["enough"] * (runs == needed) + ["the study's screen"] * (runs == study.screen.runs)
        power = planned_power(runs, noise.sd, margin, tricks, wanted.confidence)
        table.add_row(f"{runs:,}", _percent(power), _time(runs, noise.seconds), ", ".join(marks))
    console.print(table)
    console.print(
        f"{text.count(needed, 'run')} are needed{_takes(needed, noise.seconds)}; one trick at a time, each against the "
        f"plain baseline, {singly:,}: {singly / needed:.1f} x as many."
    )
    rivals = [f"{name} ({', '.join(options[1:])})" for name, options in switches.items() if len(options) > 2]
    if rivals:
        console.print(
            f"Only one can be on at a time of {'; '.join(rivals)}: such rivals share their runs, and each has less "
            "power than the table says.",
            markup=False,
        )
    if "screen" not in study.phases:
        console.print(
            "The study has no screen yet: add 'phases: [screen, search, ablate, confirm]' to it.", markup=False
        )
    if needed > study.screen.runs:
        console.print(
            f"Its screen ends after {study.screen.runs} runs: set 'screen: {{runs: {needed}}}'.", markup=False
        )


def _noise(study: Study, path: Path, sd: float | None, like: Path | None) -> Noise:
    """The noise as given, else as an earlier run had it, else as it is simulated. Raises InputError."""
    if like is not None:
        with opened(like) as (earlier, store):
            records = store.records()
        seconds = _seconds(records)
        if sd is not None:
            return Noise(sd, "as given", seconds)
        noise = pooled(records, like)
        other = study.difference(earlier.model_dump(mode="json"))
        where = f"{noise.source}; that was another study ({other})" if other else noise.source
        return Noise(noise.sd, where, seconds)
    if sd is not None:
        return Noise(sd, "as given")
    plain = study.model_dump(mode="json")
    simulated = (plain.get("simulation") or {}).get("measures", {}).get(MEASURE, {}).get("sd")
    if plain.get("trial") == "simulated" and simulated:
        return Noise(float(simulated), "as it is simulated")
    raise InputError(
        "how much accuracy varies over seeds is not known",
        place=str(path),
        remedy="give it with --sd, in points (0.1 to 0.5 is usual for data sets of the size of CIFAR), or name with "
        "--like the folder of a run in which recipes ran with several seeds",
    )


def pooled(records: Sequence[Record], folder: Path) -> Noise:
    """The standard deviation of accuracy over the seeds of one recipe, pooled over recipes. Raises InputError.

    Variants are left out: they share the training of their trial, and would count its noise twice.
    """
    from tricksearch.trial.averages import by_recipe

    finished = [each for each in records if each.finished and each.variant == 0 and each.accuracy is not None]
    groups = [{each.seed: each.accuracy for each in runs} for runs in by_recipe(finished).values()]
    repeated = [[value for value in group.values() if value is not None] for group in groups if len(group) > 1]
    if not repeated:
        raise InputError(
            "no recipe of this run finished with two seeds, so its noise is not known",
            place=str(folder),
            remedy="run some again with 'search: {seeds: 3}' in its study, or give the noise with --sd",
        )
    freedom = sum(len(values) - 1 for values in repeated)
    sd = sqrt(sum((len(values) - 1) * variance(values) for values in repeated) / freedom)
    if not sd > 0:
        raise InputError(
            "all runs of each recipe of this run have the same accuracy, so its noise is not known",
            place=str(folder),
            remedy="name a run with more validation images, or give the noise with --sd",
        )
    counts = f"{text.count(len(repeated), 'recipe')} with {fmean(map(len, repeated)):.3g} seeds on average"
    return Noise(sd, f"from {counts} in {folder} ({freedom} degrees of freedom)")


def _seconds(records: Sequence[Record]) -> float | None:
    """The median time of a trial that trained its net."""
    own = [each for each in records if each.finished and each.variant == 0 and "train" not in each.reused]
    walls = [each.wall_seconds for each in own if each.wall_seconds]
    return median(walls) if walls else None


def _rungs(needed: int, screen: int, tricks: int) -> list[int]:
    """Numbers of runs around the one that is needed, in fours as designs come, each enough to estimate every trick."""
    least = tricks + 2
    around = {4 * round(needed * share / 4) for share in (0.25, 0.5, 0.75, 1.5, 2.0)}
    return sorted({runs for runs in around | {needed, screen} if runs >= least})


def _percent(share: float) -> str:
    return "> 99 %" if share > 0.995 else f"{100 * share:.0f} %"


def _time(runs: int, seconds: float | None) -> str:
    return "unknown" if seconds is None else text.duration(runs * seconds)


def _takes(runs: int, seconds: float | None) -> str:
    return "" if seconds is None else f" (about {text.duration(runs * seconds)} one after another)"
