"""What `plan` does. Apart from app.py, so that `--help` imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, median, variance
from typing import TYPE_CHECKING

from rich.table import Table

from tricksearch.cli import formats
from tricksearch.cli.terminal import Terminal
from tricksearch.contract.errors import InputError
from tricksearch.store.run import StoredRun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tricksearch.records.record import Record
    from tricksearch.study.study import Study
    from tricksearch.verdicts.designs import Design, Kind

MEASURE = "accuracy"
MOST = 20_000  # runs; no screen has so many


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
    from tricksearch.search.space.space import Space
    from tricksearch.study.study import load_study
    from tricksearch.verdicts.planning import least_power, one_at_a_time

    study = load_study(path)
    factors = Space.of(study, discover(study.plugins)).factors()
    tricks = sum(map(len, factors))
    if not tricks:
        raise InputError(
            "no trick of this study is free to be on or off, so there is nothing to screen",
            place=str(path),
            remedy="name tricks under 'tricks' that are neither 'always' nor 'never'",
        )
    noise = _noise(study, path, sd, like)
    wanted, margin = study.verdicts, study.verdicts.margin(MEASURE)

    def power_of(design: Design) -> float:
        return least_power(design, noise.sd, margin, wanted.confidence)

    own = _design(factors, study.screen.runs, study.screen.design)
    enough = _enough(factors, study.screen.design, lambda design: power_of(design) >= wanted.power)
    runs = sum(enough.sizes)
    singly = one_at_a_time(noise.sd, margin, tricks, wanted.confidence, wanted.power)
    console.print(
        f"To show an effect of {margin:g} {'point' if margin == 1 else 'points'} of accuracy (the margin) among "
        f"{formats.count(tricks, 'trick')}, with {100 * wanted.confidence:g} % confidence over all of them and a power "
        f"of {100 * wanted.power:g} %:"
    )
    console.print(f"noise: standard deviation {noise.sd:.3g} points over seeds, {noise.source}", markup=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("runs", "power", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("design")
    designs = [_design(factors, round(share * runs), study.screen.design) for share in (0.25, 0.5, 0.75, 1.5, 2.0)]
    laid_out = {sum(design.sizes): design for design in (*designs, own, enough) if design is not None}
    for size, design in sorted(laid_out.items()):
        marks = " (enough)" * (size == runs) + " (this study's screen)" * (own is not None and size == sum(own.sizes))
        table.add_row(f"{size:,}", _percent(power_of(design)), _time(size, noise.seconds), f"{design.name}{marks}")
    console.print(table)
    console.print(
        f"{formats.count(runs, 'run')} are needed{_takes(runs, noise.seconds)}; one trick at a time, each against the "
        f"plain baseline, {singly:,}: {singly / runs:.1f} x as many."
    )
    rivals = [" or ".join(factor) for factor in factors if len(factor) > 1]
    if rivals:
        console.print(
            f"Only one can be on at a time of {'; '.join(rivals)}: such rivals share their runs. The power is that of "
            "the trick with the least.",
            markup=False,
        )
    if "screen" not in study.phases:
        console.print("The study has no screen: add 'phases: [screen, search, ablate, confirm]' to it.", markup=False)
    if own is None or sum(own.sizes) < runs:
        console.print(f"The study allows its screen {study.screen.runs} runs: set 'screen: {{runs: {runs}}}'.")


def _design(factors: Sequence[tuple[str, ...]], runs: int, kind: Kind) -> Design | None:
    """The screen that so many runs allow; None where they are too few for any."""
    from tricksearch.verdicts.designs import choose

    try:
        return choose(factors, runs, kind)
    except ValueError:
        return None


def _enough(factors: Sequence[tuple[str, ...]], kind: Kind, is_enough: Callable[[Design], bool]) -> Design:
    """The smallest design that is enough: designs come in steps. Raises InputError where none is."""
    from tricksearch.verdicts.designs import choose

    def fits(runs: int) -> bool:
        design = _design(factors, runs, kind)
        return design is not None and is_enough(design)

    low, high = 0, 8
    while not fits(high):
        if high == MOST:
            try:
                choose(factors, high, kind)
            except ValueError as error:
                raise InputError(str(error), place="screen.design", remedy="set 'screen: {design: auto}'") from None
            raise InputError(
                f"even {high:,} runs are too few",
                place="verdicts.margins",
                remedy="look for larger effects, or make runs less noisy with more validation images",
            )
        low, high = high, min(2 * high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return choose(factors, high, kind)


def _noise(study: Study, path: Path, sd: float | None, like: Path | None) -> Noise:
    """The noise as given, else as an earlier run had it, else as it is simulated. Raises InputError."""
    if like is not None:
        with StoredRun.open(like) as run:
            earlier, records = run.study, run.records()
        seconds = _seconds(records) if earlier.trial == "train" else None
        if sd is not None:
            return Noise(sd, "as given", seconds)
        noise = pooled(records, like)
        other = study.difference(earlier.model_dump(mode="json"))
        where = f"{noise.source}; that was another study ({other})" if other else noise.source
        return Noise(noise.sd, where, seconds)
    if sd is not None:
        return Noise(sd, "as given")
    simulated = study.simulation.measures.get(MEASURE) if study.simulation is not None else None
    if simulated is not None and simulated.sd > 0:
        return Noise(simulated.sd, "as it is simulated")
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
    from tricksearch.records.averages import by_recipe

    finished = [record for record in records if record.finished and record.variant == 0 and record.accuracy is not None]
    groups = [{run.seed: run.accuracy for run in runs} for runs in by_recipe(finished).values()]
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
    counts = f"{formats.count(len(repeated), 'recipe')} with {fmean(map(len, repeated)):.3g} seeds on average"
    return Noise(sd, f"from {counts} in {folder} ({freedom} degrees of freedom)")


def _seconds(records: Sequence[Record]) -> float | None:
    """The median time of a trial that trained its net."""
    own = [record for record in records if record.finished and record.variant == 0 and "train" not in record.reused]
    walls = [record.wall_seconds for record in own if record.wall_seconds]
    return median(walls) if walls else None


def _percent(share: float) -> str:
    return "> 99 %" if share > 0.995 else f"{100 * share:.0f} %"


def _time(runs: int, seconds: float | None) -> str:
    return "unknown" if seconds is None else formats.duration(runs * seconds)


def _takes(runs: int, seconds: float | None) -> str:
    return "" if seconds is None else f" (about {formats.duration(runs * seconds)} one after another)"
