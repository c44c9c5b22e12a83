"""Runs of one recipe with several seeds become their mean, never the best of them."""

from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tricksearch.records.averages import RecipeMeans, averaged, mean_of
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record


def record(trial, tricks, seed=0, accuracy=90.0, status="finished", **others):
    measured = {"accuracy": accuracy, "latency_ms": 1.0, "params": 10} if status == "finished" else {}
    recipe = Recipe(tricks=tricks).model_dump(mode="json")
    return Record(trial, "search", status, "", seed, recipe, measured | others)


accuracies = st.lists(st.floats(0, 100), min_size=1, max_size=6)


@given(st.lists(accuracies, min_size=1, max_size=5))
def test_each_recipe_stands_once_with_its_mean_and_spread(groups):
    rows = [
        record(10 * at + seed, {f"trick{at}": {}}, seed, accuracy)
        for at, group in enumerate(groups)
        for seed, accuracy in enumerate(group)
    ]
    found = averaged(rows)
    assert [each.trial for each in found] == [10 * at for at in range(len(groups))]
    for each, group in zip(found, groups, strict=True):
        assert each.runs == len(group)
        assert each.accuracy == pytest.approx(fmean(group))
        assert each.accuracy_sd == (pytest.approx(stdev(group)) if len(group) > 1 else None)
        assert each.params == 10


def test_runs_that_failed_are_left_out_of_the_mean_and_a_recipe_that_never_finished_keeps_its_reason():
    runs = [
        record(1, {}, 0, 80.0),
        record(2, {}, 1, status="diverged"),
        record(3, {}, 2, 90.0),
    ]
    assert (mean_of(runs).accuracy, mean_of(runs).runs, mean_of(runs).trial) == (85.0, 2, 1)
    assert mean_of(runs[1:2]) is runs[1]
    assert mean_of(runs[:2]) is runs[0], "one finished run is shown as it was measured"


def test_a_measure_that_one_run_lacks_has_no_mean():
    assert mean_of([record(1, {}, 0), record(2, {}, 1, memory_bytes=5)]).memory_bytes is None


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 100), st.booleans()), max_size=20), st.data())
def test_means_that_are_kept_up_to_date_are_those_of_all_records(rows, data):
    records = [
        record(at, {f"trick{name}": {}}, seed=at, accuracy=accuracy, status="finished" if finished else "failed")
        for at, (name, accuracy, finished) in enumerate(rows)
    ]
    means = RecipeMeans()
    at = 0
    while at < len(records):
        step = data.draw(st.integers(1, len(records) - at))
        means.add(records[at : at + step])
        at += step
        assert means.means() == averaged(records[:at])
