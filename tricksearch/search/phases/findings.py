"""From a study's records to what it has found out."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean
from typing import Literal

from tricksearch.contract import InputError, Registry, discover, hooks
from tricksearch.search.outputs import front_of
from tricksearch.search.phases.ablate import Ablation, Target, target_of
from tricksearch.search.phases.confirm import FACT as CONFIRMATION
from tricksearch.search.phases.measures import value_of
from tricksearch.search.phases.screen import Screen
from tricksearch.search.replicates import seed_noise
from tricksearch.search.space import Space
from tricksearch.search.store import Store
from tricksearch.search.study import Study
from tricksearch.trial.averages import by_recipe, mean_of
from tricksearch.trial.bounds import feasible
from tricksearch.trial.record import FRONT_PHASES, MEASURES, SEARCH_PHASES, Record
from tricksearch.verdicts.confounders import confounders, typical
from tricksearch.verdicts.findings import Findings, Gap, Mean, Member, Minimal, Shift
from tricksearch.verdicts.front import membership
from tricksearch.verdicts.means import mean_of_runs
from tricksearch.verdicts.verdict import EQUIVALENT, MOST, UNDECIDED, Verdict

Change = Literal["same", "sign changes", "order changes", "effect fades", "effect appears", "undecided"]
SEEN_PHASES = ("baseline", "screen", "search")  # what a choice was made by


def findings_of(study: Study, store: Store) -> Findings:
    """Everything that the records of a store say, whichever phases have run so far.

    Raises InputError where the tricks of a screen or an ablation are not installed here.
    """
    records = store.records()
    if all(record.phase in SEARCH_PHASES for record in records):  # then the tricks' files need not be here
        return Findings(members=_members(study, store, records, None), simulated=study.trial == "simulated")
    registry = discover(study.plugins)
    absent = [name for name in study.tricks if name not in registry]
    if absent:
        raise InputError(
            f"the study's trick '{absent[0]}' is not here, and without it its runs cannot be told apart",
            place=", ".join(study.plugins) or "tricks",
            remedy="install the package or put back the plugins folder that it came from",
        )
    space = Space.of(study, registry)
    verdicts: list[Verdict] = []
    shifts: tuple[Shift, ...] = ()
    notes: list[str] = []
    design = ""
    if any(record.phase == "screen" for record in records):
        try:
            screen = Screen(study, space, store)
        except InputError as error:  # the tricks or the runs of today's study allow none; the other phases stand
            notes.append(f"The screen cannot be told: {error}")
        else:
            design = screen.design.name
            mains, pairs = screen.verdicts(records)
            verdicts += [*mains, *pairs]
            shifts = _shifts(screen.short_verdicts(records), mains)
            notes += _of_screen(screen, records, mains)
    target = target_of(store)
    minimal: Minimal | None = None
    said: list[str] = []
    if target is not None:
        ablation = Ablation(study, target)
        verdicts += ablation.verdicts(records)
        minimal = ablation.minimal(records)
        said = _confounders(ablation, records, registry)
        notes += _failures("ablate", records)
    elif "ablate" in study.phases and any(record.phase == "search" for record in records):
        notes.append(
            f"Nothing was ablated: the {study.ablate.around} of the front is the plain baseline; name another recipe "
            "with ablate.around."
        )
    members = _members(study, store, records, minimal)
    notes += _failures("confirm", records)
    return Findings(
        design=design,
        verdicts=tuple(verdicts),
        order=tuple(target.order) if target is not None and "ladder" in study.ablate.arms else (),
        members=members,
        gap=_gap(members, records),
        minimal=minimal,
        shifts=shifts,
        confounders=tuple(said),
        notes=tuple(notes),
        simulated=study.trial == "simulated",
    )


def findings_or_why(study: Study, store: Store) -> Findings:
    """The same, or, where a trick is not installed here, a note that says so: the records can be shown all the same."""
    try:
        return findings_of(study, store)
    except InputError as error:
        return Findings(notes=(f"No verdict can be given here: {error}",), simulated=study.trial == "simulated")


def _members(study: Study, store: Store, records: Sequence[Record], minimal: Minimal | None) -> tuple[Member, ...]:
    """What was confirmed, or else the front and the baseline."""
    seen = by_recipe(record for record in records if record.phase in SEEN_PHASES)
    competing = by_recipe(record for record in records if record.phase in FRONT_PHASES)
    fresh = by_recipe(record for record in records if record.phase == "confirm" and record.finished)
    chances = _chances(study, competing)
    if not fresh and not chances:
        return ()
    front = {study.recipe(record.tricks).key for record in front_of(records, study)}
    smallest = set(minimal.tricks) if minimal is not None else None
    confirmed = store.fact(CONFIRMATION) if fresh else None
    keys = [study.recipe(tricks).key for tricks in confirmed["tricks"]] if confirmed else []
    keys += [key for key in (study.base_recipe().key, *front) if key not in keys and not fresh]
    found = []
    for key in keys:
        runs = seen.get(key) or competing.get(key) or fresh.get(key) or []
        if not runs:
            continue
        own = fresh.get(key, [])
        tested = [record.test_accuracy for record in own if record.test_accuracy is not None]
        plain = not runs[0].tricks
        lesser = minimal is not None and set(runs[0].tricks) == smallest and set(minimal.tricks) != set()
        found.append(
            Member(
                record=runs[0].id,
                role="baseline" if plain else "front" if key in front else "minimal" if lesser else "ablated",
                tricks=tuple(sorted(runs[0].tricks)),
                chance=chances.get(key),
                seen=_means(study, seen.get(key, [])),
                fresh=_means(study, own),
                test=mean_of_runs(tested) if tested else None,
            )
        )
    return tuple(found)


def _means(study: Study, runs: Sequence[Record]) -> dict[str, Mean]:
    found = {}
    for measure in study.objectives:
        values = [value for run in runs if (value := value_of(run, measure)) is not None]
        if values:
            found[measure] = mean_of_runs(values)
    return found


def _chances(study: Study, competing: dict[str, list[Record]]) -> dict[str, float]:
    """How probable it is of each recipe that it is on the front, by its key; none where no recipe ran twice."""
    names = study.objectives
    noise = [seed_noise(name, competing.values()) for name in names]
    if not any(noise):
        return {}
    means = {key: mean_of(runs) for key, runs in competing.items()}
    allowed = {id(record) for record in feasible(list(means.values()), study.constraints)}
    kept = {
        key: record
        for key, record in means.items()
        if id(record) in allowed and all(getattr(record, name) is not None for name in names)
    }
    points = [[float(getattr(record, name)) for name in names] for record in kept.values()]
    errors = [
        [share * abs(value) / sqrt(record.runs) for share, value in zip(noise, point, strict=True)]
        for record, point in zip(kept.values(), points, strict=True)
    ]
    shares = membership(points, errors, [MEASURES[name].maximize for name in names])
    return dict(zip(kept, shares, strict=True))


def _gap(members: Sequence[Member], records: Sequence[Record]) -> Gap | None:
    """How much the choice flattered the front's members that were confirmed; None where none was."""
    confirmed = [
        each for each in members if each.role == "front" and "accuracy" in each.fresh.keys() & each.seen.keys()
    ]
    trainings: dict[str, list[Member]] = {}  # what was made of one training was lucky together
    for each in confirmed:
        trainings.setdefault(each.record.partition(".")[0], []).append(each)
    seen, fresh = (
        [fmean(getattr(each, when)["accuracy"].value for each in group) for group in trainings.values()]
        for when in ("seen", "fresh")
    )
    # Runs of one recipe find the same images of a split easy.
    apart = [
        fmean(found)
        for runs in by_recipe(each for each in records if each.phase == "confirm" and each.tricks).values()
        if (
            found := [
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


def _shifts(short: Sequence[Verdict], full: Sequence[Verdict]) -> tuple[Shift, ...]:
    """Each trick's effect on accuracy at both budgets."""
    at_full = {each.trick: each for each in full if each.measure == "accuracy"}
    both = {
        each.trick: (each, at_full[each.trick])
        for each in short
        if each.measure == "accuracy" and each.trick in at_full
    }
    return tuple(
        Shift(
            trick,
            *pair,
            says=_changed(pair, [other for name, other in both.items() if name != trick]),
        )
        for trick, pair in both.items()
    )


def _changed(pair: tuple[Verdict, Verdict], others: Sequence[tuple[Verdict, Verdict]]) -> Change:
    short, full = pair
    if UNDECIDED in (short.says, full.says):
        return "undecided"
    if _sign(short) * _sign(full) < 0:
        return "sign changes"
    if EQUIVALENT in (short.says, full.says) and short.says != full.says:
        return "effect fades" if full.says == EQUIVALENT else "effect appears"
    return "order changes" if any(_swapped(pair, other) for other in others) else "same"


def _sign(verdict: Verdict) -> int:
    """Of an effect that is shown."""
    if verdict.low is None or verdict.high is None or verdict.low <= 0 <= verdict.high:
        return 0
    return 1 if verdict.low > 0 else -1


def _swapped(pair: tuple[Verdict, Verdict], other: tuple[Verdict, Verdict]) -> bool:
    """Whether two tricks stand in one order at the short budget and in the other at the full one, beyond doubt."""
    orders = []
    for mine, theirs in zip(pair, other, strict=True):
        if None in (mine.low_alone, mine.high_alone, theirs.low_alone, theirs.high_alone):
            return False
        above = mine.low_alone > theirs.high_alone  # type: ignore[operator]
        below = mine.high_alone < theirs.low_alone  # type: ignore[operator]
        orders.append(above - below)
    return orders[0] * orders[1] < 0


def _of_screen(screen: Screen, records: Sequence[Record], mains: Sequence[Verdict]) -> list[str]:
    own = screen.own(records)
    found = _failures("screen", own)
    found += _uneven(screen, own)
    if screen.earlier:
        found.append(
            "The runs of a screen that was laid out otherwise (by other tricks or another 'screen') are not used."
        )
    if not mains:
        found.append("The screen has not come to the end of its first block: there is nothing to decide yet.")
    accuracy = [each for each in mains if each.measure == "accuracy"]
    if accuracy and all(each.says == UNDECIDED for each in accuracy):
        most = max((each.more for each in accuracy if each.more), default=0)
        runs = len(screen.own(records, whole=True))
        needed = f": a screen of {runs + most:,} or more is needed (screen.runs; it begins anew)" * (0 < most < MOST)
        found.append(f"No trick could be decided on accuracy with {runs} runs{needed}.")
    return found


def _uneven(screen: Screen, runs: Sequence[Record]) -> list[str]:
    """Tricks with which more runs failed than without: their effects are those of the runs that survived."""
    found = []
    for name in (name for factor in screen.factors for name in factor):
        arms = [[record.finished for record in runs if (name in record.tricks) == on] for on in (True, False)]
        if not all(arms):
            continue
        failed = [arm.count(False) for arm in arms]
        if failed[0] * len(arms[1]) > 2 * failed[1] * len(arms[0]):
            found.append(
                f"{failed[0]} of {len(arms[0])} runs with {name} failed, {failed[1]} of {len(arms[1])} without: its "
                "effect is that of the runs that finished."
            )
    return found


def _failures(phase: str, records: Sequence[Record]) -> list[str]:
    runs = [record for record in records if record.phase == phase]
    failed = [record for record in runs if not record.finished]
    if not failed:
        return []
    reasons = list(dict.fromkeys(f"{record.status}: {record.reason}" for record in failed))
    more = f" (and {len(reasons) - 1} other reasons)" if len(reasons) > 1 else ""
    return [f"{len(failed)} of {len(runs)} runs of the {phase} phase gave no result: {reasons[0][:200]}{more}."]


def _confounders(ablation: Ablation, records: Sequence[Record], registry: Registry) -> list[str]:
    """What else changed when a trick was put on or taken out."""
    target: Target = ablation.target
    found: dict[str, None] = {}
    for name in target.tricks:
        for with_it, without in (
            (ablation.alone[name], {}),
            (target.tricks, ablation.without[name]),
        ):
            arms = [ablation.runs(tricks, records) for tricks in (with_it, without)]
            if all(arms):
                on, off = (typical([run.effective for run in arm]) for arm in arms)
                found |= dict.fromkeys(confounders(on, off, hooks(registry[name]), name))
                break  # one of the two says it
    return list(found)
