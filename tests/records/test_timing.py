"""What timings mean for records: their intervals, what is in doubt for them, and what is said of the machine."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tricksearch.records.averages import averaged, mean_of
from tricksearch.records.constraints import Bound, in_doubt
from tricksearch.records.goals import Goals
from tricksearch.records.measures import MEASURES
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import NORMAL, Record
from tricksearch.records.settings import LatencySettings
from tricksearch.records.timing import equally_fast, machine_moved, ties_line, with_error
from tricksearch.search.phases.replicates import seed_noise

GOALS = Goals(("accuracy", "latency_ms"))
EARLIER = {"batch": 4, "threads": 2, "blocks": 5, "block_seconds": 0.06, "batches": [1, 8, 32]}


def record(trial=0, accuracy=90.0, latency=1.0, half=0.02, moment=None, tricks=None, seed=0, graph="", **others):
    """A finished record whose latency has an interval of that half width, by logarithms; None for none."""
    bounds = {}
    if half is not None:
        bounds = {"latency_low_ms": latency * math.exp(-half), "latency_high_ms": latency * math.exp(half)}
    recipe = Recipe(tricks=tricks or {}).model_dump(mode="json")
    measures = {"accuracy": accuracy, "latency_ms": latency}
    timing = {} if moment is None else moment if isinstance(moment, dict) else {"id": moment}
    return Record(
        trial, "search", "finished", "", seed, recipe, measures, timing=timing, graph=graph, **bounds | others
    )


# Settings


def test_what_an_earlier_version_stored_is_read_without_its_way_of_timing():
    assert LatencySettings.model_validate(EARLIER) == LatencySettings(batch=4, threads=2)
    assert Recipe(latency=EARLIER).key == Recipe(latency={"batch": 4, "threads": 2}).key
    chosen = LatencySettings.model_validate(EARLIER | {"batches": [1, 64]})
    assert chosen.batches == (1, 64), "what was set on purpose stays"


@pytest.mark.parametrize("given", [{"blocks": 5}, {"blocks": 5, "block_seconds": 0.06}, EARLIER | {"seconds": 1.0}])
def test_a_setting_of_an_earlier_version_is_refused_where_a_person_writes_it(given):
    with pytest.raises(ValidationError, match="blocks"):
        LatencySettings.model_validate(given)


@pytest.mark.parametrize("batches", [(0,), (2000,), (1,) * 9])
def test_batch_sizes_that_cannot_be_timed_are_refused(batches):
    with pytest.raises(ValidationError, match="batches"):
        LatencySettings(batches=batches)


# The interval of a mean


@given(st.floats(0.001, 0.2), st.floats(0.1, 100))
def test_the_error_of_a_latency_is_half_its_interval_in_standard_errors(half, latency):
    assert record(latency=latency, half=half).latency_error == pytest.approx(half / NORMAL)
    assert record(half=None).latency_error is None


def test_runs_that_were_timed_each_for_itself_have_a_narrower_mean():
    mean = mean_of([record(at, latency=1.0 + at / 10, moment=f"m{at}", seed=at) for at in range(4)])
    assert mean.latency_ms == pytest.approx(1.15)
    assert mean.latency_error == pytest.approx(0.01 / NORMAL)
    assert mean.latency_low_ms == pytest.approx(1.15 * math.exp(-0.01))
    assert mean.latency_high_ms == pytest.approx(1.15 * math.exp(0.01))


def test_runs_that_share_a_timing_count_once():
    mean = mean_of([record(at, moment="one", seed=at) for at in range(4)])
    assert mean.runs == 4
    assert mean.latency_error == pytest.approx(0.02 / NORMAL)


def test_a_run_without_an_interval_leaves_none():
    mean = mean_of([record(0, moment="a"), record(1, moment="b", half=None, seed=1)])
    assert (mean.latency_low_ms, mean.latency_high_ms) == (None, None)


def test_records_of_an_earlier_version_have_a_mean_without_an_interval():
    mean = mean_of([record(at, half=None, seed=at) for at in range(3)])
    assert (mean.latency_ms, mean.latency_error, mean.timing) == (1.0, None, {})


# The front's timing


AGAIN = {"latency_ms": 3.0, "latency_ratio": 6.0, "latency_low_ms": 2.9, "latency_high_ms": 3.1, "latency_note": "b"}


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_graph_that_was_timed_again_has_that_latency(seeds):
    runs = [record(at, latency=2.0, moment=f"m{at}", seed=at, timed_again=AGAIN) for at in range(seeds)]
    (mean,) = averaged(runs)
    assert (mean.latency_ms, mean.value("latency_ratio"), mean.accuracy) == (3.0, 6.0, 90.0)
    assert (mean.latency_low_ms, mean.latency_high_ms, mean.latency_note) == (2.9, 3.1, "b")
    assert runs[0].latency_ms == 2.0, "what its trial measured stands"


def test_what_did_not_finish_has_no_latency_from_it():
    stopped = replace(record(), status="stopped", measures={}, timed_again=AGAIN)
    assert mean_of([stopped]).latency_ms is None


def test_the_front_s_timing_is_stored_with_no_record():
    row = record(timed_again=AGAIN).to_json()
    assert "timed_again" not in row
    assert Record.from_json(row).timed_again == {}


# Who is on the front


def test_a_latency_s_error_leaves_a_neighbour_a_chance():
    first = record(0, 90.0, 1.0, half=0.05, moment="a", tricks={"a": {}})
    close = record(1, 89.9, 1.01, half=0.05, moment="b", tricks={"b": {}})
    far = record(2, 89.9, 2.0, half=0.05, moment="c", tricks={"c": {}})
    chances = GOALS.membership([first, close, far], [0.0, 0.0])
    assert chances[0] > 0.9
    assert 0.2 < chances[1] < 0.5
    assert chances[2] < 0.01
    sure = [replace(one, latency_low_ms=None, latency_high_ms=None) for one in (first, close, far)]
    assert GOALS.membership(sure, [0.0, 0.0]) == pytest.approx([1.0, 0.0, 0.0])


@pytest.mark.parametrize("moments", [["one", "one"], [{"id": "a", "tie": ["x", "y"]}, {"id": "b", "tie": ["x", "y"]}]])
def test_recipes_that_share_a_timing_are_not_in_doubt_for_it(moments):
    best, worse = (
        record(at, 90.0 - at, 1.0, half=0.2, moment=m, tricks={f"t{at}": {}}) for at, m in enumerate(moments)
    )
    assert GOALS.membership([best, worse], [0.0, 0.0]) == pytest.approx([1.0, 0.0])
    apart = replace(worse, timing={"id": "another"})
    assert 0.3 < GOALS.membership([best, apart], [0.0, 0.0])[1] < 0.7


def test_the_scatter_over_seeds_of_a_latency_is_what_its_timing_does_not_explain():
    runs = [record(at, latency=math.exp((-1) ** at * 0.05), half=0.05 * NORMAL, moment=f"m{at}") for at in range(40)]
    assert seed_noise("latency_ms", [runs]) < 0.012, "it is that of the timings"
    assert seed_noise("latency_ms", [[replace(run, latency_low_ms=None) for run in runs]]) > 0.045


def test_its_error_says_nothing_of_what_is_not_timed():
    goals = Goals(("accuracy", "params"))
    rivals = [record(at, 90.0 - at, half=0.5, tricks={f"t{at}": {}}) for at in range(2)]
    rivals = [replace(one, measures=one.measures | {"params": 10.0 + at}) for at, one in enumerate(rivals)]
    assert goals.membership(rivals, [0.0, 0.0]) == pytest.approx([1.0, 0.0])


# Limits


def limit(measure, value, at_most=True):
    return Bound(measure, at_most, value, f"{measure} limit")


@pytest.mark.parametrize(
    ("bound", "doubt"),
    [
        (limit("latency_ms", 0.99), True),
        (limit("latency_ms", 0.97), False),
        (limit("latency_ms", 1.5), False),  # it holds
        (limit("latency_ratio", 1.97), True),
        (limit("latency_ratio", 1.9), False),
        (limit("latency_p95_ms", 1.09), True),
        (limit("throughput", 1010, at_most=False), True),
        (limit("throughput", 1050, at_most=False), False),
        (limit("params", 9.99), False),  # it was counted
        (limit("f1", 99, at_most=False), False),  # it was not measured
    ],
)
def test_a_bound_is_in_doubt_where_the_interval_of_the_latency_reaches_it(bound, doubt):
    interval = {"latency_low_ms": math.exp(-0.02), "latency_high_ms": math.exp(0.02)}
    taken = {"latency_ms": 1.0, "latency_ratio": 2.0, "latency_p95_ms": 1.1, "throughput": 1000.0, "params": 10}
    assert in_doubt([bound], taken | interval) == ([bound.text] if doubt else [])
    timed = MEASURES[bound.measure].timed and not bound.holds(taken[bound.measure])
    unknown = in_doubt([bound], taken | dict.fromkeys(interval))
    assert unknown == ([bound.text] if timed else []), "a timing without an interval rules out nothing"


# Sentences


def moment(name, baseline, refers=0.5):
    return {"id": name, "yardstick_ms": baseline, "refers_to_ms": refers}


def test_a_machine_that_held_still_is_said_to_have():
    records = [record(at, moment=moment(f"m{at}", 0.5 + at / 100)) for at in range(3)]
    assert machine_moved(records) == (
        "The machine held still while latencies were taken: a call of the plain net's file took 0.500 ms to 0.520 ms "
        "(n = 3 timings)."
    )


def test_a_machine_that_moved_is_said_to_have_and_what_that_means():
    records = [record(at, moment=moment(f"m{at // 2}", 0.5 + 0.2 * (at // 2))) for at in range(6)]
    text = machine_moved(records)
    assert "moved by x 1.80" in text
    assert "0.500 ms to 0.900 ms (n = 3 timings)" in text, "records that share a timing are one"
    assert "as of the moment when that took 0.500 ms" in text
    mixed = [*records, record(9, moment=moment("m9", 0.5, refers=0.7))]
    assert "as of the moment" not in machine_moved(mixed), "two caches, two moments"
    assert "milliseconds refer to 2 moments" in machine_moved(mixed)


def test_the_machines_of_a_cluster_are_told_apart():
    fast = [record(at, moment=moment(f"f{at}", 0.5), hardware={"cpu": "fast"}) for at in range(2)]
    slow = [record(at, moment=moment(f"s{at}", 1.5), hardware={"cpu": "slow"}) for at in range(2)]
    text = machine_moved([*fast, *slow])
    assert text.count("held still") == 2
    assert "fast: The machine" in text
    assert "slow: The machine" in text


def test_on_a_gpu_the_yardstick_is_called_what_it_is():
    text = machine_moved([record(moment=moment("m", 0.5) | {"device": "cuda"})])
    assert "a fixed product of matrices on the GPU took 0.500 ms" in text
    assert "plain net" not in text


def test_records_that_an_earlier_version_timed_are_told():
    text = machine_moved([record(0, moment=moment("m", 0.5)), record(1, half=None)])
    assert "An earlier version timed 1 of the 2 records" in text


def test_records_that_were_never_timed_so_say_nothing():
    assert machine_moved([]) == machine_moved([record(half=None)]) == ""


def test_a_latency_is_shown_with_its_error():
    assert with_error(record(latency=2.0, half=0.01), "latency_ms") == "2.000 ms ±1.0 %"
    assert with_error(record(latency=2.0, half=None), "latency_ms") == "2.000 ms"
    assert with_error(record(accuracy=90.0), "accuracy") == "90.00 %"
    assert with_error(replace(record(), measures={}), "latency_ms") == "-"


def test_recipes_that_are_equally_fast_are_named_once_for_each_graph():
    tie = ["g1", "g2"]
    means = [
        record(1, 90.0, graph="g1", moment={"id": "a", "tie": tie}),
        record(2, 91.0, graph="g1", moment={"id": "a", "tie": tie}),
        record(3, 92.0, graph="g2", moment={"id": "a", "tie": tie}),
        record(4, 93.0, graph="g3", moment="a"),
    ]
    assert [[one.id for one in group] for group in equally_fast(means)] == [["3", "2"]]
    assert ties_line(means) == "Equally fast here, as far as their interval tells: 3, 2."
    assert ties_line(means[:2]) == "", "one graph is no tie"
    assert ties_line(means[3:]) == ""
