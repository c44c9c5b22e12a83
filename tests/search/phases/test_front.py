"""The end of a search: which graphs are timed together, when, and what records say then."""

import logging
import math

import pytest

from tests.search.observer import Listener
from tricksearch.contract import TrialError
from tricksearch.search import loop as loops
from tricksearch.search.loop import Loop
from tricksearch.search.phases.front import MOST, near_front, time_front
from tricksearch.store.facts import FRONT_TIMING
from tricksearch.store.store import Store
from tricksearch.trial import front_timing


@pytest.fixture
def store(tmp_path):
    made = Store.at(tmp_path / "store.db")
    yield made
    made.close()


@pytest.fixture
def rival(make_study, make_record):
    """A finished record of a graph of its own, whose latency is known to a percent."""
    study = make_study()

    def make(trial, accuracy, latency, graph=None, half=0.01, **others):
        recipe = study.recipe({"solo": {"kind": "a"}, "left": {"factor": 0.5 + trial / 100}})
        low, high = latency * math.exp(-half), latency * math.exp(half)
        mark = f"g{trial}" if graph is None else graph
        known = {"graph": mark, "latency_low_ms": low, "latency_high_ms": high, "timing": {"id": f"t{trial}"}}
        return make_record(trial, recipe, accuracy, latency, **known | others)

    make.study = study
    return make


@pytest.fixture
def timings(monkeypatch):
    """What is asked to be timed; each graph comes out at 7 ms."""
    asked = []

    def timed(records, cache, registry):
        asked.append(sorted(record.graph for record in records))
        again = {"latency_ms": 7.0, "latency_low_ms": 6.9, "latency_high_ms": 7.1, "timing": {"id": "front"}}
        return {"graphs": dict.fromkeys(asked[-1], again), "ties": [], "left_out": {}}

    monkeypatch.setattr(front_timing, "timed_front", timed)
    return asked


def end(study, store, registry_of, tmp_path):
    time_front(study, store, registry_of(study), tmp_path / "cache", Listener())


def test_the_front_and_what_is_as_near_as_its_timing_are_timed(rival):
    records = [
        rival(0, 90.0, 1.0),
        rival(1, 95.0, 2.0),
        rival(2, 89.9, 1.01),  # slower by as much as its timing may err
        rival(3, 89.0, 1.5),
        rival(4, 95.0, 2.0, graph="g1"),
        rival(5, 90.0, 1.0, status="failed"),
        rival(6, 99.0, 0.5, graph=""),  # of an earlier version
        rival(7, 99.0, 0.5, phase="confirm"),
    ]
    near = near_front(rival.study, records[:6])
    assert {record.graph for record in near} == {"g0", "g1", "g2"}
    assert len(near) == 3, "one record for a graph"
    assert near_front(rival.study, records[6:]) == []


def test_where_nothing_is_timed_for_nothing_is_timed_again(rival, make_record, tmp_path):
    study = rival.study.model_copy(update={"objectives": ("accuracy", "params")})
    assert near_front(study, [rival(0, 90.0, 1.0, params=5)]) == []


def test_no_more_than_so_many_are_timed(rival):
    records = [rival(at, 90.0 + at / 10, 1.0 + at / 10) for at in range(MOST + 5)]
    assert len(near_front(rival.study, records)) == MOST


def test_it_is_timed_once_and_again_where_the_graphs_changed(rival, store, registry_of, tmp_path, timings):
    store.add([rival(0, 90.0, 1.0), rival(1, 95.0, 2.0), rival(2, 80.0, 3.0)])
    end(rival.study, store, registry_of, tmp_path)
    assert timings == [["g0", "g1"]]
    end(rival.study, store, registry_of, tmp_path)
    store.add([rival(3, 70.0, 4.0)])
    end(rival.study, store, registry_of, tmp_path)
    assert len(timings) == 1, "the same graphs"
    store.add([rival(4, 99.0, 0.5)])
    end(rival.study, store, registry_of, tmp_path)
    assert timings[1:] == [["g4"]]


def test_records_of_an_ablation_do_not_change_what_is_timed(rival):
    searched = [rival(0, 90.0, 1.0), rival(1, 95.0, 2.0)]
    better = rival(2, 99.0, 0.5, phase="ablate")
    assert near_front(rival.study, [*searched, better]) == near_front(rival.study, searched)


def test_what_was_disturbed_is_timed_when_the_run_goes_on(rival, store, registry_of, tmp_path, monkeypatch):
    tries = []

    def timed(records, cache, registry):
        tries.append([record.graph for record in records])
        disturbed = tries[0] if len(tries) == 1 else []
        return {"graphs": {}, "ties": [], "left_out": dict.fromkeys(disturbed, "busy"), "disturbed": disturbed}

    monkeypatch.setattr(front_timing, "timed_front", timed)
    store.add([rival(0, 90.0, 1.0)])
    for _ in range(3):
        end(rival.study, store, registry_of, tmp_path)
    assert tries == [["g0"], ["g0"]]


def test_records_of_these_graphs_have_that_latency_from_then_on(rival, store, registry_of, tmp_path, timings):
    store.add([rival(0, 90.0, 1.0), rival(2, 80.0, 3.0)])
    end(rival.study, store, registry_of, tmp_path)
    first, second = store.records()
    assert first.timed_again["latency_ms"] == 7.0
    assert first.latency_ms == 1.0
    assert second.timed_again == {}
    shown = rival.study.goals.front([first])
    assert shown[0].latency_ms == 7.0


def test_a_simulated_study_times_nothing(rival, store, registry_of, tmp_path, timings):
    store.add([rival(0, 90.0, 1.0)])
    end(rival.study.model_copy(update={"trial": "simulated"}), store, registry_of, tmp_path)
    assert timings == []


@pytest.mark.parametrize("error", [TrialError("the runtime crashed"), MemoryError()])
def test_what_goes_wrong_is_logged_and_the_trials_latencies_stand(
    rival, store, registry_of, tmp_path, monkeypatch, caplog, error
):
    def fail(*_):
        raise error

    monkeypatch.setattr(front_timing, "timed_front", fail)
    store.add([rival(0, 90.0, 1.0)])
    with caplog.at_level(logging.ERROR):
        end(rival.study, store, registry_of, tmp_path)
    assert "the front could not be timed again" in caplog.text
    assert store.fact(FRONT_TIMING) is None


def test_the_loop_times_it_when_the_search_is_over(make_study, registry_of, make_record, store, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(loops, "time_front", lambda *_: calls.append(store.count()))
    study = make_study(search={"trials": 2, "startup": 1})
    loop = Loop(study, registry_of(study), store, tmp_path, Listener())
    while (job := loop.next()) is not None:
        assert calls == []
        recipes = enumerate(job.recipes())
        loop.finish([make_record(job.trial, recipe, phase=job.phase, variant=at) for at, recipe in recipes])
    assert calls == [store.count()]
    Loop(study, registry_of(study), store, tmp_path, Listener())
    assert len(calls) == 2, "a run that goes on looks whether it was done"
