"""Trials that lose their process or their memory: handed out again as they were, so often and not more."""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tricksearch.contract import discover
from tricksearch.records.record import Record
from tricksearch.search.loop import Loop
from tricksearch.search.retries import RETRIES
from tricksearch.store.store import Store
from tricksearch.study.study import Study, load_study
from tricksearch.trial.rungs import Progress

TRIALS = 6


class Told:
    def __init__(self):
        self.started_trials, self.stored = [], []

    def entered(self, phase, done, total):
        pass

    def started(self, job):
        self.started_trials.append(job.trial)

    def recorded(self, records):
        self.stored.append(records[0])

    def ended(self, why):
        pass


def record_of(job, status="finished", reason=""):
    measured = {"accuracy": 90.0 + job.trial, "latency_ms": 1.0} if status == "finished" else {}
    return Record(
        trial=job.trial,
        phase=job.phase,
        status=status,
        reason=reason,
        seed=job.seed,
        recipe=job.recipe,
        measures=measured,
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(f"data: digits\nvariants: none\nsearch: {{trials: {TRIALS}}}\n")
    return load_study(path)


@pytest.fixture
def make_loop(study, tmp_path):
    def make():
        told = Told()
        return Loop(study, discover(), Store.at(tmp_path / "store.db"), tmp_path, told), told

    return make


def test_a_lost_trial_is_handed_out_again_as_it_was_then_recorded_with_each_reason(make_loop):
    loop, told = make_loop()
    first = loop.next()
    job = loop.next()
    for attempt in range(RETRIES):
        loop.lost(job, "failed", f"its node left {attempt}")
        assert not told.stored
        assert loop.next() == job
    loop.lost(job, "failed", "its node left at last")
    (lost,) = told.stored
    assert (lost.trial, lost.status, lost.recipe["tricks"]) == (job.trial, "failed", job.recipe["tricks"])
    assert [f"its node left {each}" in lost.reason for each in (0, 1, "at last")] == [True] * 3
    assert loop.next().trial not in (first.trial, job.trial)


def test_a_trial_that_ran_out_of_memory_beside_others_runs_alone_once(make_loop):
    loop, told = make_loop()
    one, two = loop.next(), loop.next()
    loop.finish([record_of(two, "out_of_memory", "no memory")])
    assert not told.stored, "it was recorded before it had the machine to itself"
    assert loop.next() is None, "another trial started though one waits to be alone"
    loop.finish([record_of(one)])
    assert loop.next() == two
    assert loop.next() is None, "another trial started beside the one that is to be alone"
    assert not loop.over
    loop.finish([record_of(two, "out_of_memory", "no memory alone")])
    assert [record.reason for record in told.stored] == ["", "no memory alone"]
    assert {loop.next().trial, loop.next().trial}.isdisjoint({one.trial, two.trial})


def test_a_trial_that_ran_out_of_memory_alone_is_recorded_at_once(make_loop):
    loop, told = make_loop()
    loop.finish([record_of(loop.next())])
    loop.lost(loop.next(), "out_of_memory", "Ray ended it")
    assert [(record.status, record.reason) for record in told.stored[1:]] == [("out_of_memory", "Ray ended it")]


def test_one_that_comes_later_takes_the_solitude_of_the_first_from_it(make_loop):
    loop, told = make_loop()
    first = loop.next()
    loop.finish([record_of(loop.next())])  # has run beside the first
    loop.lost(first, "out_of_memory", "Ray ended it")
    assert len(told.stored) == 1
    assert loop.next() == first


def test_a_closed_loop_hands_out_nothing_and_is_over_when_what_runs_has_ended(make_loop):
    loop, told = make_loop()
    one, two = loop.next(), loop.next()
    loop.close()
    assert loop.next() is None
    assert not loop.over
    loop.finish([record_of(one)])
    loop.lost(two, "failed", "its process was ended")
    assert loop.over
    assert [record.trial for record in told.stored] == [one.trial], "what was cut off is the next run's to do"
    again, _ = make_loop()
    assert again.next().trial == two.trial


@settings(max_examples=15)
@given(data=st.data())
def test_whatever_happens_each_trial_is_stored_once_and_tried_no_more_than_it_may(study, data):
    with tempfile.TemporaryDirectory() as folder:
        store, told = Store.at(Path(folder) / "store.db"), Told()
        loop, running, alone = Loop(study, discover(), store, Path(folder), told), [], set()
        while not loop.over:
            start = not running or (len(running) < 3 and data.draw(st.booleans()))
            job = loop.next() if start else None
            if job is not None:
                others = {each.trial for each in running}
                assert not others & alone, "something started beside a trial that is to be alone"
                assert not (others and job.trial in alone), "a trial that is to be alone started beside others"
                running.append(job)
                continue
            assert running, "nothing runs, nothing starts, and the loop is not over"
            job = running.pop(data.draw(st.integers(0, len(running) - 1)))
            how = data.draw(st.sampled_from(["finished", "lost", "out_of_memory", "killed for memory"]))
            stored = len(told.stored)
            if how in ("finished", "out_of_memory"):
                loop.finish([record_of(job, how)])
            else:
                loop.lost(job, "failed" if how == "lost" else "out_of_memory", how)
            alone |= {job.trial} if "memory" in how and len(told.stored) == stored else set()
        assert [record.trial for record in store.records()] == list(range(TRIALS))
        assert max(Counter(told.started_trials).values()) <= 1 + RETRIES + 1
        store.close()


def test_what_lost_attempts_spent_counts_over_every_start(tmp_path):
    """Epochs to the last rung of one whose worker died; all of one that ran out of memory and is made again."""
    path = tmp_path / "study.yaml"
    path.write_text("data: digits\nvariants: none\ntrain: {epochs: 9}\nsearch: {trials: 9, epochs: 14}\n")
    study, ended = load_study(path), []

    class Ends(Told):
        def ended(self, why):
            ended.append(why)

    def start():
        return Loop(study, discover(), Store.at(tmp_path / "store.db"), tmp_path, Ends())

    def tells(loop, job, epoch):
        assert loop.report(job.trial, Progress(epoch, {"accuracy": 50.0}, record_of(job))) is None

    loop = start()
    first, second = loop.next(), loop.next()
    tells(loop, first, 1)
    tells(loop, first, 3)
    loop.lost(first, "failed", "its node left")  # 3 epochs
    assert loop.next() == first
    tells(loop, first, 1)  # the driver is killed: 1 epoch
    tells(loop, second, 1)
    loop.finish([replace(record_of(second, "out_of_memory"), spent_epochs=2.5)])
    loop = start()
    first, second = loop.next(), loop.next()
    loop.finish([replace(record_of(first, "out_of_memory"), spent_epochs=2.0)])
    loop.finish([replace(record_of(second), spent_epochs=5.0)])
    loop = start()  # 3 + 1 + 2.5 + 2 + 5
    job = loop.next()
    assert not ended
    loop.finish([replace(record_of(job), spent_epochs=0.5)])
    assert start().next() is None
    assert "14 epochs were trained" in ended[0]
