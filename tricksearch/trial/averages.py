"""Recipes that ran with more than one seed: their mean, as one record. Never the best of their runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from tricksearch.trial.recipe import Recipe
from tricksearch.trial.record import FRONT_PHASES, MEASURES, Record

WHOLE = ("params", "macs", "file_bytes", "memory_bytes")  # counts: a mean of them is still told as one


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
        groups.setdefault(Recipe.model_validate(record.recipe).key, []).append(record)
    return groups


def mean_of(runs: Sequence[Record]) -> Record:
    """One recipe's runs as one record; see `averaged`."""
    finished = [run for run in runs if run.finished]
    if len(finished) < 2:
        return (finished or list(runs))[0]
    means: dict[str, Any] = {}
    for name in MEASURES:
        values = [value for value in (getattr(run, name) for run in finished) if value is not None]
        means[name] = fmean(values) if len(values) == len(finished) else None
        if name in WHOLE and means[name] is not None:
            means[name] = round(means[name])
    accuracies = [run.accuracy for run in finished if run.accuracy is not None]
    spread = stdev(accuracies) if len(accuracies) > 1 else None
    phase = "baseline" if any(run.phase == "baseline" for run in runs) else finished[0].phase
    return replace(finished[0], **means, phase=phase, runs=len(finished), accuracy_sd=spread)
