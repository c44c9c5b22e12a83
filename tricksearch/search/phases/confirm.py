"""The confirmation: what the study would recommend, on fresh seeds, and the only reading of the test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tricksearch.records.averages import averaged, confirmed_runs
from tricksearch.records.record import Record
from tricksearch.search.phases.ablate import Ablation, target_of
from tricksearch.search.phases.measures import arms_on, measures_of, verdicts_on
from tricksearch.search.phases.phase import PlannedRun, fresh_seed, in_rounds, mark_of
from tricksearch.store.facts import CONFIRMATION
from tricksearch.store.store import Store
from tricksearch.study.study import Study
from tricksearch.verdicts.verdict import CONFIRMED, Verdict, recipe_name

SEEN_PHASES = ("baseline", "screen", "search")  # what the search's front was chosen by

Tricks = dict[str, dict[str, Any]]


def confirm_plan(
    study: Study, store: Store, records: Sequence[Record]
) -> Callable[[Sequence[Record]], list[PlannedRun]]:
    """What a confirmation wants to run: the choice is made once, from the records that are there now."""
    fact = store.fact(CONFIRMATION)
    searched = sum(record.phase != "confirm" for record in records)
    if fact is None or fact["searched"] != searched or fact["recipes"] != study.confirm.recipes:
        # All run again, the baseline too: what ran days apart cannot be compared, nor a step told from an effect.
        ran = any(record.phase == "confirm" for record in records)
        fact = {
            "tricks": chosen(study, store, records),
            "searched": searched,
            "recipes": study.confirm.recipes,
            "number": fact.get("number", 0) + 1 if fact is not None and ran else 0,
        }
        store.put_fact(CONFIRMATION, fact)

    def plan(records: Sequence[Record]) -> list[PlannedRun]:
        return in_rounds(_arms(study, fact), fresh_seed(study.search.seed, "confirm", "order"))

    return plan


def _arms(study: Study, fact: Mapping[str, Any]) -> list[list[PlannedRun]]:
    """The runs of each recipe of a confirmation; those of another confirmation have other seeds."""
    number = fact.get("number", 0)
    parts = (study.search.seed, "confirm", *((number,) if number else ()))
    arms = []
    for tricks in fact["tricks"]:
        recipe = study.recipe(tricks)
        seeds = [fresh_seed(*parts, recipe.key, at) for at in range(study.confirm.seeds)]
        arms.append([PlannedRun("confirm", recipe, seed, test=True) for seed in seeds])
    return arms


def confirmed_verdicts(study: Study, store: Store, records: Sequence[Record]) -> list[Verdict]:
    """Each recipe of the last confirmation against the plain baseline, by the runs of that confirmation alone.

    One family for each measure. Runs of an earlier confirmation are of another state of the machine.
    """
    fact = store.fact(CONFIRMATION)
    if fact is None:
        return []
    planned = {run.mark for arm in _arms(study, fact) for run in arm}
    fresh = confirmed_runs(record for record in records if mark_of(record) in planned)
    plain = study.recipe({}).key
    if len(fresh) < 2 or plain not in fresh:
        return []
    first = {mean.recipe_key: mean.id for mean in averaged(records)}
    names = {key: recipe_name(first.get(key, runs[0].id)) for key, runs in fresh.items() if key != plain}
    verdicts = []
    for measure in measures_of(study):
        arms = arms_on(measure, fresh)
        estimates = [arms.contrast(name, [(1, key), (-1, plain)]) for key, name in names.items()]
        verdicts += verdicts_on(study, measure, estimates, CONFIRMED)
    return verdicts


def chosen(study: Study, store: Store, records: Sequence[Record]) -> list[Tricks]:
    """The tricks of the baseline, of the front's members, of what was ablated, and of the minimal recipe.

    Of the front as the search left it too: a gap that is taken only over what held up since is too small.
    """
    recipes: list[Tricks] = [{}]
    recipes += [record.tricks for record in spread(study.goals.front(records), study.goals.knee(records), study)]
    recipes += [record.tricks for record in chosen_by_search(study, records)]
    target = target_of(store)
    if target is not None:
        recipes += [target.tricks, Ablation(study, target).smallest(records) or {}]
    return [tricks for at, tricks in enumerate(recipes) if tricks not in recipes[:at]]


def chosen_by_search(study: Study, records: Sequence[Record]) -> list[Record]:
    """The members to confirm of the front at the end of the search, whatever has been run since."""
    seen = [record for record in records if record.phase in SEEN_PHASES]
    return spread(study.goals.front(seen), study.goals.knee(seen), study)


def spread(front: Sequence[Record], knee: Record | None, study: Study) -> list[Record]:
    """The knee, and members of the front from its one end to its other, as many as are to be confirmed."""
    most = study.confirm.recipes
    if len(front) <= most:
        return list(front)
    others = [record for record in front if knee is None or record.id != knee.id]
    count = most - (knee is not None)
    places = [round(at * (len(others) - 1) / max(1, count - 1)) for at in range(count)]
    kept = {others[place].id for place in places} | ({knee.id} if knee is not None else set())
    return [record for record in front if record.id in kept]
