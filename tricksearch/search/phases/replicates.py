"""Which training to run again with another seed: each one so often, or those whose place on the front is in doubt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance
from typing import Any

from tricksearch.records.averages import mean_of
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import SEARCH_PHASES, Record
from tricksearch.study.study import Study

MOST_RUNS = 5  # of one recipe, where their number is adaptive
BASELINE_RUNS = 3  # all is compared with it, and the spread of its runs is the first estimate of the noise
SHARE = 0.5  # trainings with another seed, as a share of the recipes that were trained, at most
DOUBT = 0.1  # p (1 - p) of being on the front, above which a recipe is worth another run: p from .11 to .89
FEWEST_FREEDOM = 2  # degrees of freedom that an estimate of the noise has where there are so many

Runs = Mapping[str, Sequence[Record]]


@dataclass(frozen=True)
class Replicate:
    """A training to run again with this seed, and what to measure again of what was made of it."""

    lead: Record  # the record of the recipe that is trained: variant 0 of its trial
    variants: tuple[dict[str, dict[str, Any]], ...]
    seed: int


def next_replicate(study: Study, groups: Runs, running: Mapping[str, set[int]]) -> Replicate | None:
    """What to run again before anything new is tried, or None.

    `groups` are the runs of each recipe by its key, `running` the seeds of trainings that are under way likewise.
    """
    if study.search.seeds == 1:
        return None
    leads = {
        runs[0].trial: key
        for key, runs in groups.items()
        if runs[0].variant == 0 and runs[0].finished and runs[0].phase in SEARCH_PHASES
    }
    if study.search.seeds == "adaptive":
        key = _in_doubt(study, groups, leads, running)
    else:
        wanted = study.search.seeds
        key = next((lead for lead in leads.values() if len(_seeds(lead, groups, running)) < wanted), None)
    return None if key is None else _again(study, key, groups, running)


def _again(study: Study, key: str, groups: Runs, running: Mapping[str, set[int]]) -> Replicate:
    """The training of this recipe with the first seed that it has not had."""
    lead, had = groups[key][0], _seeds(key, groups, running)
    seed = next(at for at in range(study.search.seed, study.search.seed + len(had) + 1) if at not in had)
    family = [runs[0] for runs in groups.values() if runs[0].trial == lead.trial and runs[0].variant > 0]
    return Replicate(lead, tuple(record.tricks for record in family if record.finished), seed)


def _seeds(key: str, groups: Runs, running: Mapping[str, set[int]]) -> set[int]:
    return {run.seed for run in groups[key]} | running.get(key, set())


def _in_doubt(study: Study, groups: Runs, leads: Mapping[int, str], running: Mapping[str, set[int]]) -> str | None:
    """The training one of whose recipes is on the front with the least certainty; new ones have their share first."""
    runs = {key: len(_seeds(key, groups, running)) for key in leads.values()}
    plain = next((key for key in leads.values() if groups[key][0].phase == "baseline"), None)
    if plain is not None and runs[plain] < BASELINE_RUNS:
        return plain
    if sum(runs.values()) - len(runs) >= SHARE * len(runs):
        return None
    rivals = study.goals.rivals([mean_of(group) for group in groups.values()])
    if not rivals:
        return None
    noise = [seed_noise(name, groups.values()) for name in study.objectives]
    doubts = [
        (share * (1 - share), leads[rival.trial])
        for share, rival in zip(study.goals.membership(rivals, noise), rivals, strict=True)
        if rival.trial in leads and runs[leads[rival.trial]] < MOST_RUNS and not running.get(leads[rival.trial])
    ]
    doubt, key = max(doubts, default=(0.0, ""))
    return key if doubt > DOUBT else None


def seed_noise(name: str, groups: Iterable[Sequence[Record]]) -> float:
    """The standard deviation over seeds of a measure, as a share of its value, pooled over recipes that ran twice.

    Of these the better half counts, by this measure, and more where it has few runs: noise is wanted where the front
    is, and one recipe whose runs collapse now and then would make all others look uncertain. Of a latency, it is what
    is left without the error of its timing, which the records tell for themselves. It is 0 where no recipe ran twice.
    """
    known = [[run for run in runs if run.finished and run.value(name) is not None] for runs in groups]
    twice = sorted(
        ((values, runs) for runs in known if len(runs) > 1 and fmean(values := [run.measures[name] for run in runs])),
        key=lambda pair: fmean(pair[0]),
        reverse=MEASURES[name].maximize,
    )
    squares, freedom, counted = 0.0, 0, 0
    for values, runs in twice:
        if freedom >= FEWEST_FREEDOM and counted >= len(twice) / 2:
            break
        timing = fmean((run.latency_error or 0.0) ** 2 for run in runs) if MEASURES[name].timed else 0.0
        squares += (variance(values) / fmean(values) ** 2 - timing) * (len(values) - 1)
        freedom, counted = freedom + len(values) - 1, counted + 1
    return sqrt(max(0.0, squares / freedom)) if freedom else 0.0


def settled(study: Study, lead: Sequence[Record]) -> bool:
    """Whether a training, whose runs these are, needs no further run, so that the sampler can be told its mean."""
    wanted = study.search.seeds
    if lead[0].phase not in SEARCH_PHASES:
        return True
    return wanted in (1, "adaptive") or len(lead) >= int(wanted) or not lead[0].finished
