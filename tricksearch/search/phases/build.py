"""The phases of a study, one after another, each made when the one before it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tricksearch.contract import Registry
from tricksearch.search.phases.ablate import ablate_plan
from tricksearch.search.phases.confirm import confirm_plan
from tricksearch.search.phases.phase import DesignedPhase, Phase, TrialNumbers
from tricksearch.search.phases.screen import screen_plan
from tricksearch.search.phases.search import SearchPhase
from tricksearch.search.space.space import Space
from tricksearch.store.store import Store
from tricksearch.study.study import Study


def phases_of(
    study: Study, space: Space, registry: Registry, store: Store, workers: int, searched: Callable[[], None]
) -> Iterator[Phase]:
    """Each phase that the study names, from the records that are stored when it is asked for.

    `searched` is called at the end of the search, before another phase builds on its front.

    Raises InputError where a phase cannot begin: a screen with too few runs, an ablation around nothing.
    """
    for name in study.phases:
        records = store.records()
        # A record that was set aside keeps its number, by which people know it.
        numbers = TrialNumbers(record.trial for record in (*records, *store.records_set_aside()))
        if name == "search":
            yield SearchPhase(study, space, store, records, numbers, workers)
            searched()
        elif name == "screen":
            plan = screen_plan(study, space, store)
            yield DesignedPhase("screen", ("baseline", "screen", "fidelity"), plan, records, numbers)
        elif name == "ablate":
            arms = ablate_plan(study, space, registry, store, records)
            yield DesignedPhase("ablate", ("baseline", "ablate"), arms, records, numbers)
        else:
            yield DesignedPhase("confirm", ("confirm",), confirm_plan(study, store, records), records, numbers)
