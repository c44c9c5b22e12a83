"""Work that stands still at its rungs, without Ray."""

import threading

import pytest

from tricksearch.records.recipe import Recipe
from tricksearch.search.workers.pausing import PausingTrial
from tricksearch.trial.rungs import Progress, Stopped


@pytest.fixture
def pausing():
    made = PausingTrial()
    yield made
    made.close()


@pytest.fixture
def climb(make_record):
    """Work with rungs after the epochs 1, 2, ... that writes down what befalls it."""

    def make(trial, rungs, seen, end=None):
        record = make_record(trial, Recipe())

        def work(report):
            seen.append(("begun", trial, threading.current_thread()))
            try:
                for epoch in range(1, rungs + 1):
                    report(Progress(epoch, {"accuracy": 1.0}, record))
            except Stopped:
                seen.append(("stopped", trial, None))
                raise
            if end is not None:
                raise end
            return [record]

        return work

    return make


def events(seen):
    return [(what, trial) for what, trial, _ in seen]


def test_a_step_ends_at_each_rung_and_the_last_one_gives_the_records(pausing, climb):
    seen = []
    work = climb(4, 2, seen)
    assert [pausing.step(work).epoch for _ in range(2)] == [1, 2]
    (record,) = pausing.step(work)
    assert record.trial == 4
    assert events(seen) == [("begun", 4)]


def test_what_stands_at_a_rung_is_ended_before_the_next_begins_in_the_same_thread(pausing, climb):
    seen = []
    pausing.step(climb(1, 3, seen))
    pausing.stop()
    pausing.stop()  # nothing stands there any more
    assert events(seen) == [("begun", 1), ("stopped", 1)]
    work = climb(2, 1, seen)
    assert pausing.step(work).epoch == 1
    assert pausing.step(work)[0].trial == 2
    threads = {thread for what, _, thread in seen if what == "begun"}
    assert len(threads) == 1
    assert threads != {threading.current_thread()}


@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit(3), KeyboardInterrupt()])
def test_what_the_work_raises_comes_out_and_the_next_runs(pausing, climb, error):
    seen = []
    work = climb(1, 1, seen, end=error)
    pausing.step(work)
    with pytest.raises(type(error)) as caught:
        pausing.step(work)
    assert caught.value is error
    assert pausing.step(climb(2, 0, seen))[0].trial == 2


def test_closing_ends_the_work_and_its_thread(climb):
    seen = []
    pausing = PausingTrial()
    pausing.step(climb(1, 2, seen))
    pausing.close()
    assert events(seen)[-1] == ("stopped", 1)
    assert not seen[0][2].is_alive()
    PausingTrial().close()  # where nothing was begun
