"""Recipes that ran with more than one seed: their mean, as one record. Never the best of their runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from tricksearch.records.measures import MEASURES
from tricksearch.records.record import FRONT_PHASES, NORMAL, Record


class RecipeMeans:
    """One record for each recipe, kept up to date as records come: a live view need not average all of them again."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._runs: dict[str, list[Record]] = {}
        self._means: dict[str, Record] = {}
        self.add(records)

    def add(self, records: Iterable[Record]) -> None:
        """Enter records; those of a confirmation, and those at another budget, are left out."""
        changed: dict[str, None] = {}
        for record in records:
            if record.phase in FRONT_PHASES:
                self._runs.setdefault(record.recipe_key, []).append(record)
                changed[record.recipe_key] = None
        self._means |= {key: mean_of(self._runs[key]) for key in changed}

    def means(self) -> list[Record]:
        """The recipes' means, in the order of their first runs; see `averaged`."""
        return list(self._means.values())


def averaged(records: Iterable[Record]) -> list[Record]:
    """One record for each recipe, in the order of their first runs.

    Each measure is the mean over the runs that finished, `runs` their number, `accuracy_sd` the standard deviation
    of their accuracies; all else is the first finished run's. A recipe of which no run finished is shown by its first
    run. A record that stands alone comes back as it is. Runs of a confirmation, and those at another budget, are left
    out: the others are held against them.
    """
    return RecipeMeans(records).means()


def shown(records: Sequence[Record]) -> list[Record]:
    """What people are shown of each recipe, and choose by: `averaged`, with fresh runs in place of the searched ones.

    A value that the search chose by flatters what it chose. Where a confirmation has run a recipe, its measures are
    the mean of those runs alone, `confirmed` is their number, and its id remains that of its first searched run. A
    confirmation that is under way, or that the search went on after, is left out: fresh values of some recipes say
    nothing beside searched ones of the others.
    """
    means = {mean.recipe_key: mean for mean in averaged(records)}
    for key, runs in confirmed_runs(records).items() if confirmation_is_whole(records) else ():
        mean = mean_of([replace(run, timed_again={}) for run in runs])  # the front's timing is of what was searched
        mean = replace(mean, runs=len(runs), confirmed=len(runs))
        first = means.get(key)
        if first is not None:
            mean = replace(mean, trial=first.trial, variant=first.variant, phase=first.phase, seed=first.seed)
        means[key] = mean
    return list(means.values())


def confirmation_is_whole(records: Iterable[Record]) -> bool:
    """Whether each recipe that a confirmation began with has two runs or more, and no search went on after it.

    A confirmation runs in rounds, of one run of each recipe.
    """
    tries: dict[str, int] = {}
    last = {"confirm": -1, "search": -1}
    for record in records:
        if record.phase == "confirm":
            tries[record.recipe_key] = tries.get(record.recipe_key, 0) + 1
        if record.phase == "confirm" or record.phase in FRONT_PHASES:
            part = "confirm" if record.phase == "confirm" else "search"
            last[part] = max(last[part], record.trial)
    return bool(tries) and min(tries.values()) > 1 and last["search"] < last["confirm"]


def confirmed_runs(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The finished runs of the confirmation, by their recipe's key."""
    return by_recipe(record for record in records if record.phase == "confirm" and record.finished)


def by_recipe(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The runs of each recipe, by the recipe's key, in the order of the records."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.recipe_key, []).append(record)
    return groups


def mean_of(runs: Sequence[Record]) -> Record:
    """One recipe's runs as one record; see `averaged`."""
    finished = [run for run in runs if run.finished]
    if len(finished) < 2:
        return _timed_again((finished or list(runs))[0])
    means: dict[str, float] = {}
    for name, measure in MEASURES.items():
        values = [value for value in (run.value(name) for run in finished) if value is not None]
        if len(values) == len(finished):
            means[name] = round(fmean(values)) if measure.whole else fmean(values)
    accuracies = [run.accuracy for run in finished if run.accuracy is not None]
    spread = _deviation(accuracies) if len(accuracies) > 1 else None
    phase = "baseline" if any(run.phase == "baseline" for run in runs) else finished[0].phase
    low, high = _bounds(finished, means.get("latency_ms"))
    mean = replace(
        finished[0],
        measures=means,
        phase=phase,
        runs=len(finished),
        accuracy_sd=spread,
        latency_low_ms=low,
        latency_high_ms=high,
    )
    return _timed_again(mean)


def _bounds(runs: Sequence[Record], latency: float | None) -> tuple[float | None, float | None]:
    """The interval of the mean latency; runs that share one timing are one measurement."""
    errors = {run.timing.get("id"): run.latency_error for run in runs}
    known = [error for error in errors.values() if error is not None]
    if latency is None or len(known) < len(errors):
        return None, None
    half = NORMAL * math.sqrt(math.fsum(error**2 for error in known)) / len(known)
    return latency * math.exp(-half), latency * math.exp(half)


def _timed_again(record: Record) -> Record:
    """The record with the latency that its graph had when the front was timed together, where it was."""
    again = record.timed_again
    if not again or not record.finished:
        return record
    fields = {name: value for name, value in again.items() if name not in MEASURES}
    measures = {name: value for name, value in again.items() if name in MEASURES}
    return replace(record, measures=record.measures | measures, **fields)


def _deviation(values: Sequence[float]) -> float:
    """The sample standard deviation; that of `statistics` computes in fractions, at twenty times the price."""
    mean = fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
