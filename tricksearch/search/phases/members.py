"""The front's members: where each stands as it was searched, and on fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from statistics import fmean

from tricksearch.records.averages import by_recipe, shown
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import FRONT_PHASES, NORMAL, Record
from tricksearch.search.phases.confirm import SEEN_PHASES, chosen_by_search
from tricksearch.search.phases.measures import relative, value_of
from tricksearch.store.facts import CONFIRMATION
from tricksearch.store.store import Store
from tricksearch.study.study import Study
from tricksearch.verdicts.chances import SURE, Objective, chances
from tricksearch.verdicts.findings import Gap, Mean, Member, Minimal
from tricksearch.verdicts.means import mean_of_runs
from tricksearch.verdicts.scale import margin_on_scale, on_scale


def members_of(study: Study, store: Store, records: Sequence[Record], minimal: Minimal | None) -> tuple[Member, ...]:
    """What was confirmed, or else the front and the baseline."""
    seen = by_recipe(record for record in records if record.phase in SEEN_PHASES)
    competing = by_recipe(record for record in records if record.phase in FRONT_PHASES)
    fresh = by_recipe(record for record in records if record.phase == "confirm" and record.finished)
    if not fresh and not any(len(runs) > 1 for runs in competing.values()):
        return ()
    sure = _chances(study, records, fresh)
    chosen = {record.recipe_key for record in chosen_by_search(study, records)}
    front = dict.fromkeys(record.recipe_key for record in study.goals.front_of_means(shown(records)))
    smallest = set(minimal.tricks) if minimal is not None else None
    confirmed = store.fact(CONFIRMATION) if fresh else None
    keys = [study.recipe(tricks).key for tricks in confirmed["tricks"]] if confirmed else []
    if not fresh:  # the baseline may be on the front
        keys = list(dict.fromkeys((*keys, study.base_recipe().key, *front)))
    members = []
    for key in keys:
        runs = seen.get(key) or competing.get(key) or fresh.get(key) or []
        if not runs:
            continue
        own = fresh.get(key, [])
        tested = [record.test_accuracy for record in own if record.test_accuracy is not None]
        plain = not runs[0].tricks
        lesser = minimal is not None and set(runs[0].tricks) == smallest and set(minimal.tricks) != set()
        members.append(
            Member(
                record=runs[0].id,
                role="baseline" if plain else "front" if key in front else "minimal" if lesser else "ablated",
                tricks=tuple(sorted(runs[0].tricks)),
                chance=sure.get(key),
                seen=_means(study, seen.get(key, [])),
                fresh=_means(study, own),
                test=mean_of_runs(tested) if tested else None,
                searched=key in chosen,
            )
        )
    return tuple(members)


def _means(study: Study, runs: Sequence[Record]) -> dict[str, Mean]:
    means = {}
    for measure in study.objectives:
        known = [(run, value) for run in runs if (value := value_of(run, measure)) is not None]
        if MEASURES[measure].timed:
            known = list({run.timing.get("id", run.id): (run, value) for run, value in known}.values())
        if len(known) == 1 and MEASURES[measure].timed:
            means[measure] = _timed_once(*known[0])
        elif known:
            means[measure] = mean_of_runs([value for _, value in known])
    return means


def _timed_once(run: Record, value: float) -> Mean:
    """A latency that was taken once, for however many runs: its interval is that of the timing."""
    if run.latency_error is None:
        return Mean(value, None, None, 1)
    half = NORMAL * run.latency_error
    return Mean(value, value * exp(-half), value * exp(half), 1)


def _chances(study: Study, records: Sequence[Record], fresh: dict[str, list[Record]]) -> dict[str, float]:
    """How probable it is of each confirmed recipe, by its key, that it is on the front of them, where that is sure."""
    kept = [
        record.recipe_key for record in study.goals.rivals(shown(records)) if len(fresh.get(record.recipe_key, ())) > 1
    ]
    objectives = []
    for name in study.objectives:
        runs: dict[str, list[float]] = {}
        units: list[str] = []
        for key in kept:
            values = [value for run in fresh[key] if (value := value_of(run, name)) is not None]
            graph = fresh[key][0].graph if MEASURES[name].timed else ""
            if not values:
                return {}
            units.append(graph or key)
            runs.setdefault(units[-1], []).extend(on_scale(values, relative(name)))
        margin = margin_on_scale(study.verdicts.margin(name), relative(name))
        objectives.append(Objective(runs, units, MEASURES[name].maximize, margin))
    if not kept:
        return {}
    return {key: chance for key, chance in zip(kept, chances(objectives), strict=True) if chance >= SURE}


def gap_of(members: Sequence[Member], records: Sequence[Record]) -> Gap | None:
    """How much the choice flattered the members of the search's front that were confirmed; None where none was."""
    confirmed = [
        member
        for member in members
        if member.searched and member.role != "baseline" and "accuracy" in member.fresh.keys() & member.seen.keys()
    ]
    trainings: dict[str, list[Member]] = {}  # what was made of one training was lucky together
    for member in confirmed:
        trainings.setdefault(member.record.partition(".")[0], []).append(member)
    seen, fresh = (
        [fmean(getattr(member, when)["accuracy"].value for member in group) for group in trainings.values()]
        for when in ("seen", "fresh")
    )
    # Runs of one recipe find the same images of a split easy.
    apart = [
        fmean(differences)
        for runs in by_recipe(record for record in records if record.phase == "confirm" and record.tricks).values()
        if (
            differences := [
                run.accuracy - run.test_accuracy
                for run in runs
                if run.accuracy is not None and run.test_accuracy is not None
            ]
        )
    ]
    if not seen or not apart:
        return None
    return Gap(
        optimism=mean_of_runs([was - now for was, now in zip(seen, fresh, strict=True)]),
        split=mean_of_runs(apart),
        recipes=len(confirmed),
        seen=fmean(seen),
        fresh=fmean(fresh),
    )
