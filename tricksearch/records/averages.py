"""Recipes that ran with more than one seed: their mean, as one record. Never the best of their runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, stdev

from tricksearch.records.measures import MEASURES
from tricksearch.records.record import FRONT_PHASES, Record


def averaged(records: Iterable[Record]) -> list[Record]:
    """One record for each recipe, in the order of their first runs.

    Each measure is the mean over the runs that finished, `runs` their number, `accuracy_sd` the standard deviation
    of their accuracies; all else is the first finished run's. A recipe of which no run finished is shown by its first
    run. A record that stands alone comes back as it is. Runs of a confirmation, and those at another budget, are left
    out: the others are held against them.
    """
    records = [record for record in records if record.phase in FRONT_PHASES]
    if len({record.seed for record in records}) < 2:
        return records  # no recipe runs twice with one seed
    return [mean_of(group) for group in by_recipe(records).values()]


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
        return (finished or list(runs))[0]
    means: dict[str, float] = {}
    for name, measure in MEASURES.items():
        values = [value for value in (run.value(name) for run in finished) if value is not None]
        if len(values) == len(finished):
            means[name] = round(fmean(values)) if measure.whole else fmean(values)
    accuracies = [run.accuracy for run in finished if run.accuracy is not None]
    spread = stdev(accuracies) if len(accuracies) > 1 else None
    phase = "baseline" if any(run.phase == "baseline" for run in runs) else finished[0].phase
    return replace(finished[0], measures=means, phase=phase, runs=len(finished), accuracy_sd=spread)
