"""The end of a search: the graphs on and near the front are timed together before anything is said of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tricksearch.contract import Registry
from tricksearch.records.averages import averaged
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record
from tricksearch.search.observer import Observer
from tricksearch.store.facts import FRONT_TIMING
from tricksearch.store.store import Store
from tricksearch.study.study import Study
from tricksearch.trial.cache import Cache

log = logging.getLogger(__name__)

MOST = 16  # graphs that are timed together
NEAR = 0.02  # chance of being on the front, as far as the timings' own errors go, from which a graph is near it


def time_front(study: Study, store: Store, registry: Registry, cache: Path, observer: Observer) -> None:
    """Time the front's graphs together, where that was not done yet, and store what came of it.

    What goes wrong is logged: the latencies of the trials stand then.
    """
    if study.trial == "simulated":
        return
    graphs = near_front(study, store.records())
    marks = sorted(record.graph for record in graphs)
    known = store.fact(FRONT_TIMING)
    if not graphs or (known is not None and known["of"] == marks and not known.get("disturbed")):
        return
    from tricksearch.trial.front_timing import timed_front

    observer.timing_front(len(graphs))
    try:
        timed = timed_front(graphs, Cache(cache), registry)
    except Exception:  # it is the end of a search whose records all stand
        log.exception("the front could not be timed again: the latencies of its trials stand")
        return
    for mark, why in timed["left_out"].items():
        log.warning("the latency of its trial stands for the graph %s: %s", mark, why)
    earlier = known["graphs"] if known is not None else {}
    store.put_fact(FRONT_TIMING, timed | {"of": marks, "graphs": earlier | timed["graphs"]})


def near_front(study: Study, records: Sequence[Record]) -> list[Record]:
    """A record of each distinct graph that is on the front, or could be but for the error of its timing.

    There is none where no objective is timed. Where there are too many, the surest are kept.
    """
    if not any(MEASURES[name].timed for name in study.objectives):
        return []
    searched = (record for record in records if record.phase != "ablate")  # so that it is the same when a run goes on
    rivals = study.goals.rivals(averaged(replace(record, timed_again={}) for record in searched))
    rivals = [record for record in rivals if record.graph]
    chances = study.goals.membership(rivals, [0.0] * len(study.objectives)) if rivals else []
    near: dict[str, Record] = {}
    for chance, record in sorted(zip(chances, rivals, strict=True), key=lambda pair: -pair[0]):
        if chance >= NEAR and len(near) < MOST:
            near.setdefault(record.graph, record)
    return list(near.values())
