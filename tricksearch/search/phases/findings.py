"""From a study's records to what it has found out."""

from __future__ import annotations

from collections.abc import Sequence

from tricksearch.contract import InputError, Registry, discover, hooks
from tricksearch.records.averages import by_recipe
from tricksearch.records.record import SEARCH_PHASES, Record
from tricksearch.search.phases.ablate import Ablation, Target, target_of
from tricksearch.search.phases.confirm import confirmed_verdicts
from tricksearch.search.phases.members import gap_of, members_of
from tricksearch.search.phases.noise import collapsed_in_arms, collapsed_in_design, drifts
from tricksearch.search.phases.screen import Screen
from tricksearch.search.phases.shifts import shifts_of
from tricksearch.search.space.space import Space
from tricksearch.store.changed_code import code_changes, notes_of
from tricksearch.store.store import Store
from tricksearch.study.study import Study
from tricksearch.verdicts.confounders import confounders, effective_of_arm
from tricksearch.verdicts.findings import Findings
from tricksearch.verdicts.verdict import MOST, UNDECIDED, Verdict


def findings_of(study: Study, store: Store) -> Findings:
    """Everything that the records of a store say, whichever phases have run so far.

    Raises InputError where the tricks of a screen or an ablation are not installed here.
    """
    records = store.records()
    if all(record.phase in SEARCH_PHASES for record in records):  # then the tricks' files need not be here
        return Findings(
            members=members_of(study, store, records, None),
            notes=tuple(notes_of(code_changes(store), records)),
            simulated=study.trial == "simulated",
        )
    registry = _registry(study)
    screened = _screened(study, Space.of(study, registry), store, records)
    target = target_of(store)
    ablated = Findings() if target is None else _ablated(study, Ablation(study, target), records, registry)
    if target is None and "ablate" in study.phases and any(record.phase == "search" for record in records):
        why = (
            f"Nothing was ablated: the {study.ablate.around} of the front is the plain baseline; name another recipe "
            "with ablate.around."
        )
        ablated = Findings(notes=(why,))
    members = members_of(study, store, records, ablated.minimal)
    return Findings(
        design=screened.design,
        verdicts=(*screened.verdicts, *ablated.verdicts, *confirmed_verdicts(study, store, records)),
        order=tuple(target.order) if target is not None and "ladder" in study.ablate.arms else (),
        members=members,
        gap=gap_of(members, records),
        minimal=ablated.minimal,
        shifts=screened.shifts,
        confounders=ablated.confounders,
        notes=(
            *notes_of(code_changes(store), records),
            *screened.notes,
            *ablated.notes,
            *_confirmed(study, records),
        ),
        simulated=study.trial == "simulated",
    )


def _registry(study: Study) -> Registry:
    """The tricks that are installed here, every one of the study's among them. Raises InputError."""
    registry = discover(study.plugins)
    absent = [name for name in study.tricks if name not in registry]
    if absent:
        raise InputError(
            f"the study's trick '{absent[0]}' is not here, and without it its runs cannot be told apart",
            place=", ".join(study.plugins) or "tricks",
            remedy="install the package or put back the plugins folder that it came from",
        )
    return registry


def _screened(study: Study, space: Space, store: Store, records: Sequence[Record]) -> Findings:
    """What the screen's runs say."""
    if not any(record.phase == "screen" for record in records):
        return Findings()
    try:
        screen = Screen(study, space, store)
    except InputError as error:  # the tricks or the runs of today's study allow none; the other phases stand
        return Findings(notes=(f"The screen cannot be read: {error}",))
    mains, pairs = screen.verdicts(records)
    return Findings(
        design=screen.design.name,
        verdicts=(*mains, *pairs),
        shifts=shifts_of(study, screen, records, mains),
        notes=(
            *_of_screen(screen, records, mains),
            *collapsed_in_design(study, "screen", screen.runs(records), screen.factors),
        ),
    )


def _ablated(study: Study, ablation: Ablation, records: Sequence[Record], registry: Registry) -> Findings:
    """What the ablation's runs say."""
    groups = ablation.groups(records)
    removed = "its arms ran in rounds, and the trend is taken out of the effects"
    return Findings(
        verdicts=tuple(ablation.verdicts(records)),
        minimal=ablation.minimal(records),
        confounders=tuple(_confounders(ablation, records, registry)),
        notes=(
            *_failures("ablate", records),
            *drifts(study, "ablation", groups, removed),
            *collapsed_in_arms(study, "ablation", groups, ablation.compared()),
        ),
    )


def _confirmed(study: Study, records: Sequence[Record]) -> list[str]:
    """What is to be said of the confirmation's runs."""
    groups = by_recipe(record for record in records if record.phase == "confirm" and record.finished)
    removed = "its recipes ran in rounds, and the trend is taken out of what they are held against each other by"
    return [*_failures("confirm", records), *drifts(study, "confirmation", groups, removed)]


def findings_or_why(study: Study, store: Store) -> Findings:
    """The same, or, where a trick is not installed here, a note that says so: the records can be shown all the same."""
    try:
        return findings_of(study, store)
    except InputError as error:
        why = f"No verdict can be given here: {error}"
        return Findings(notes=(why,), simulated=study.trial == "simulated", incomplete=True)


def _of_screen(screen: Screen, records: Sequence[Record], mains: Sequence[Verdict]) -> list[str]:
    own = screen.own(records)
    notes = _failures("screen", own)
    notes += _uneven(screen, own)
    if screen.earlier:
        notes.append(
            "The runs of a screen that was laid out otherwise (by other tricks or another 'screen') are not used."
        )
    if not mains:
        notes.append("The screen has not come to the end of its first block: there is nothing to decide yet.")
    accuracy = [main for main in mains if main.measure == "accuracy"]
    if accuracy and all(verdict.says == UNDECIDED for verdict in accuracy):
        most = max((verdict.more for verdict in accuracy if verdict.more), default=0)
        runs = len(screen.own(records, whole=True))
        needed = f": a screen of {runs + most:,} or more is needed (screen.runs; it begins anew)" * (0 < most < MOST)
        notes.append(f"No trick could be decided on accuracy with {runs} runs{needed}.")
    return notes


def _uneven(screen: Screen, runs: Sequence[Record]) -> list[str]:
    """Tricks with which more runs failed than without: their effects are those of the runs that survived."""
    notes = []
    for name in (name for factor in screen.factors for name in factor):
        arms = [[record.finished for record in runs if (name in record.tricks) == on] for on in (True, False)]
        if not all(arms):
            continue
        failed = [arm.count(False) for arm in arms]
        if failed[0] * len(arms[1]) > 2 * failed[1] * len(arms[0]):
            notes.append(
                f"{failed[0]} of {len(arms[0])} runs with {name} failed, {failed[1]} of {len(arms[1])} without: its "
                "effect is that of the runs that finished."
            )
    return notes


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
    sentences: dict[str, None] = {}
    for name in target.tricks:
        for with_it, without in (
            (ablation.alone[name], {}),
            (target.tricks, ablation.without[name]),
        ):
            arms = [ablation.runs(tricks, records) for tricks in (with_it, without)]
            if all(arms):
                on, off = (effective_of_arm([run.effective for run in arm]) for arm in arms)
                sentences |= dict.fromkeys(confounders(on, off, hooks(registry[name]), name))
                break  # one of the two says it
    return list(sentences)
