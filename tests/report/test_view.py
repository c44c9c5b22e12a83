from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tests.report.conftest import HARDWARE, make_records, make_study
from tricksearch.contract import InputError
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record
from tricksearch.report.embedded import embedded_data, yaml_scalar
from tricksearch.report.headline import caveat, details, headline
from tricksearch.report.view import accuracy_interval, make_view
from tricksearch.study.study import Study

BOTH = ("accuracy", "latency_ms")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def _record(trial: int, accuracy: float | None, latency: float | None, **more) -> Record:
    status = "failed" if accuracy is None or latency is None else "finished"
    measures = {"accuracy": accuracy, "latency_ms": latency} | {key: more.pop(key) for key in MEASURES if key in more}
    return Record(
        trial=trial,
        phase="search" if trial else "baseline",
        status=status,
        reason="" if status == "finished" else "it broke",
        seed=0,
        recipe={},
        measures={name: value for name, value in measures.items() if value is not None},
        **{"validation_images": 1000, "latency_runs": 100, **_timing(latency), **more},
    )


def _timing(latency: float | None) -> dict[str, float]:
    """The interval of a latency that is known to a percent."""
    return {} if latency is None else {"latency_low_ms": latency * 0.99, "latency_high_ms": latency * 1.01}


@given(JSON)
@example(1e-05)
@example(1e16)
@example("a\nb\x85")
def test_a_scalar_is_one_line_of_yaml_that_reads_back(value) -> None:
    text = yaml_scalar(value)
    assert len(text.splitlines()) == 1
    assert yaml.safe_load(f"tricks:\n  t:\n    field: {text}\n") == {"tricks": {"t": {"field": value}}}


def test_the_view_of_a_small_study() -> None:
    points = [(90.0, 1.0), (91.0, 0.9), (95.0, 2.0), (89.0, 0.5), (None, None), (91.0, 1.1)]
    view = make_view([_record(i, *point) for i, point in enumerate(points)], BOTH)
    assert view.plotted == [0, 1, 2, 3, 5]
    assert view.front == [3, 1, 2]  # by latency
    assert (view.knee, view.baseline, view.better) == (1, 0, [1])


def test_other_objectives_have_their_own_direction() -> None:
    records = [_record(0, 90.0, 1.0, params=10), _record(1, 90.0, 2.0, params=5), _record(2, 95.0, 3.0, params=20)]
    view = make_view(records, ["params", "accuracy"])
    assert (view.y, view.x) == ("params", "accuracy")
    assert view.front == [1, 2]
    assert headline(view) == "No recipe is better than the baseline on both parameters and accuracy."
    assert make_view(records, ["latency_ms"]).objectives == ("latency_ms", "accuracy")


def test_front_knee_and_better_are_over_all_objectives() -> None:
    three = (*BOTH, "params")
    records = [
        _record(0, 90.0, 1.0, params=10),
        _record(1, 92.0, 0.9, params=20),  # better on the two that are drawn alone
        _record(2, 91.0, 0.95, params=9),
        _record(3, 89.0, 1.2, params=1),  # on the front for its size
        _record(4, 89.0, 1.3, params=1),
        _record(5, 99.0, 0.1),  # its size was not measured
    ]
    view = make_view(records, three)
    assert (view.y, view.x, view.plotted) == ("accuracy", "latency_ms", [0, 1, 2, 3, 4])
    assert (view.front, view.knee, view.better) == ([1, 2, 3], 2, [2])
    assert headline(view) == (
        "No recipe is shown to be better than the baseline on all 3 objectives, accuracy, latency and parameters."
    )
    assert "accuracy overlaps the baseline's" in caveat(make_view(records, ("params", "latency_ms", "accuracy")))


@pytest.mark.parametrize("objectives", [("accuracy", "latency_ms"), ("accuracy", "latency_ms", "params", "f1")])
def test_the_report_and_the_tables_agree(objectives) -> None:
    records, study = make_records(), Study(name="s", objectives=objectives)
    view = make_view(records, objectives)
    assert {records[i].trial for i in view.front} == {each.trial for each in study.goals.front(records)}
    assert records[view.knee].trial == study.goals.knee(records).trial


def test_an_objective_that_is_no_measure_is_refused() -> None:
    with pytest.raises(InputError, match=r"'acuracy' is not a measure. Did you mean 'accuracy'"):
        make_view([], ["acuracy", "latency_ms"])


def test_a_value_that_is_no_number_is_not_measured() -> None:
    view = make_view([_record(0, 90.0, 1.0), _record(1, math.nan, 1.0), _record(2, 95.0, math.inf)], BOTH)
    assert view.plotted == [0]
    text = json.dumps(embedded_data(view, make_study()), allow_nan=False)
    assert json.loads(text)["columns"]["accuracy"] == [90.0, None, 95.0]


def test_the_interval_is_in_percent_and_needs_n() -> None:
    low, high = accuracy_interval(_record(0, 97.0, 1.0))
    assert (low, high) == pytest.approx((95.75, 97.89), abs=0.01)
    assert accuracy_interval(replace(_record(0, 97.0, 1.0), validation_images=None)) is None


@pytest.mark.parametrize(
    ("points", "expected", "why"),
    [
        ([], "No trial finished", ""),
        ([(None, None)], "No trial finished", ""),
        ([(None, None), (90, 1)], "The baseline did not finish", ""),
        ([(90, 1)], "Only the baseline finished", ""),
        ([(90, 1), (91, 1)], "No recipe is both more accurate and faster", ""),
        ([(90, 1), (91, 0.9)], "No recipe is shown to be both more accurate and faster",
         "1 is so by measured values alone: the 95 % interval of accuracy overlaps the baseline's."),
        ([(90, 1), (91, 0.995)], "No recipe is shown to be both",
         "interval of accuracy overlaps the baseline's; the 95 % interval of latency overlaps the baseline's."),
        ([(90, 1), (99, 0.995)], "No recipe is shown to be both", "alone: the 95 % interval of latency overlaps"),
        ([(90, 1), (99, 0.9)], "1 recipe is both more accurate and faster",
         "Its 95 % intervals lie wholly on the better side of the baseline's."),
        ([(90, 1), (91, 0.9), (92, 0.9)], "No recipe is shown to be both", "2 are so by measured values alone"),
        ([(90, 1), (91, 0.9), (99, 0.9)], "1 recipe is both more accurate and faster",
         "1 more is so by measured values alone: the 95 % interval of accuracy overlaps"),
        ([(90, 1), (98, 0.9), (99, 0.9)], "2 recipes are both more accurate", "Their 95 % intervals lie wholly"),
    ],
)  # fmt: skip
def test_the_head_claims_what_its_intervals_carry(points, expected: str, why: str) -> None:
    view = make_view([_record(i, *point) for i, point in enumerate(points)], BOTH)
    assert headline(view).startswith(expected)
    assert why in caveat(view)
    assert bool(why) == bool(caveat(view))


def test_each_objective_has_to_carry_the_claim() -> None:
    """F1 by its own error, what is counted exactly, and what has no interval never."""

    def claim(objectives, start, best, **more):
        records = [_record(0, 90.0, 1.0, **start), _record(1, 99.0, 0.5, **best | more)]
        return headline(make_view(records, objectives)), caveat(make_view(records, objectives))

    f1 = claim(("f1", "params"), {"f1": 80.0, "f1_error": 1.0, "params": 9}, {"f1": 85.0, "f1_error": 1.0, "params": 8})
    assert f1[0] == "1 recipe is better than the baseline on both macro F1 and parameters."
    f1 = claim(("f1", "params"), {"f1": 80.0, "f1_error": 2.0, "params": 9}, {"f1": 85.0, "f1_error": 1.0, "params": 8})
    assert f1[0].startswith("No recipe is shown to be better")
    assert "interval of macro F1 overlaps" in f1[1]
    f1 = claim(("f1", "params"), {"f1": 80.0, "params": 9}, {"f1": 85.0, "f1_error": 1.0, "params": 8})
    assert "macro F1 has no interval" in f1[1]
    seconds = claim(("accuracy", "train_seconds"), {"train_seconds": 9.0}, {"train_seconds": 8.0})
    assert seconds[0].startswith("No recipe is shown")
    assert "training time has no interval" in seconds[1]
    untimed = claim(BOTH, {}, {}, latency_low_ms=None, latency_high_ms=None)
    assert "latency has no interval" in untimed[1]


def test_a_baseline_that_was_tried_again_is_the_one_that_finished() -> None:
    again = replace(_record(1, 90.0, 1.0), phase="baseline")
    view = make_view([_record(0, None, None), again, _record(2, 99.0, 0.5)], BOTH)
    assert (view.baseline, view.better) == (1, [2])


def test_the_baseline_is_known_by_its_phase_alone() -> None:
    view = make_view([_record(1, 90, 1.0), _record(2, 91, 0.9)], BOTH)
    assert "baseline has not been run" in headline(view)


def test_the_details_carry_n_hardware_and_doubt() -> None:
    text = " ".join(details(make_view(make_records(), BOTH), make_study()))
    assert "60 trials: 55 finished, 2 diverged, 2 failed, 1 out of memory" in text
    assert "270 validation images" in text
    assert "(batch 1, 1 thread)" in text
    assert HARDWARE["cpu"] in text
    assert "gpu" not in text  # it has none
    assert "trained once" in text
    assert "not established" in text
    assert "The machine held still while latencies were taken" in text
    assert "other programs" not in text


def test_a_machine_whose_speed_moved_is_told() -> None:
    moments = [{"id": str(number), "yardstick_ms": ms, "refers_to_ms": 0.4} for number, ms in enumerate((0.4, 0.7))]
    records = [_record(0, 90.0, 1.0, timing=moments[0]), _record(1, 91.0, 0.9, timing=moments[1])]
    text = " ".join(details(make_view(records, BOTH), {}))
    assert "The machine's speed moved by x 1.75 while latencies were taken" in text
    assert "0.400 ms to 0.700 ms (n = 2 timings)" in text
    assert "as of the moment when that took 0.400 ms" in text


def test_records_whose_timing_was_disturbed_are_named() -> None:
    records = [_record(0, 90.0, 1.0, latency_disturbed=0.4), _record(1, 91.0, 0.9, latency_disturbed=0.6)]
    text = " ".join(details(make_view(records, BOTH), {}))
    assert "While the latency of 1 record was taken, other programs had the processor most of the time" in text
    assert "read it with care (1)" in text


def test_recipes_that_are_equally_fast_are_told() -> None:
    tie = {"tie": ["a", "b"], "yardstick_ms": 1.0, "refers_to_ms": 1.0, "id": "1"}
    records = [_record(number, 90.0, 0.5, timing=tie, graph=graph) for number, graph in enumerate("ab")]
    assert "Equally fast here, as far as their interval tells: 0, 1." in " ".join(details(make_view(records, BOTH), {}))
