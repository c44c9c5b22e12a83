"""Constraints: what can be written, and what it comes to beside a baseline."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tricksearch.records.constraints import Constraint, feasible, not_in_force
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record


def record(trial, accuracy, latency, phase="search", status="finished"):
    measures = {"accuracy": accuracy, "latency_ms": latency}
    known = {name: value for name, value in measures.items() if value is not None}
    return Record(trial, phase, status, "", 0, {}, known)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("latency_ms <= 8", 8.0),
        ("latency_ms<=2", 2.0),
        (" latency_ms <= 1e-1 ", 0.1),
        ("latency_ms <= baseline", 4.0),
        ("latency_ms <= 0.9 * baseline", 3.6),
        ("latency_ms <= baseline + 0.5", 4.5),
        ("latency_ms <= 0.5*baseline - .5", 1.5),
        ("latency_ms <= baseline - 0.5", 3.5),
    ],
)
def test_the_number_that_it_comes_to(text, value):
    bound = Constraint.parse(text).bound(record(0, 90.0, 4.0, "baseline"))
    assert (bound.measure, bound.at_most) == ("latency_ms", True)
    assert bound.value == pytest.approx(value)
    assert bound.holds(value * 0.999)
    assert not bound.holds(value * 1.001)


@pytest.mark.parametrize("text", ["", "latency_ms", "latency_ms < 8", "latency_ms <= ", "8 >= latency_ms", "f1 >= x"])
def test_what_is_no_constraint_is_refused(text):
    with pytest.raises(ValueError, match="MEASURE <= NUMBER"):
        Constraint.parse(text)


def test_what_is_no_measure_is_refused():
    with pytest.raises(KeyError, match="latency"):
        Constraint.parse("latency <= 8")


def test_without_a_baseline_nothing_is_relative_to_it():
    assert Constraint.parse("accuracy >= baseline - 1").bound(None) is None
    assert Constraint.parse("accuracy >= 90").bound(None).value == 90


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 10)), max_size=20), st.floats(0, 100), st.floats(0.1, 10))
def test_what_is_feasible_keeps_every_constraint(points, least, most):
    records = [record(number, *point) for number, point in enumerate(points)] + [record(99, 1e3, 0, status="failed")]
    kept = feasible(records, [f"accuracy >= {least!r}", f"latency_ms <= {most!r}"])
    assert kept == [each for each in records[:-1] if each.accuracy >= least and each.latency_ms <= most]


def test_a_limit_relative_to_a_baseline_that_failed_is_told_not_to_hold(make_record):
    limits = ["latency_ms <= 0.5 * baseline", "params <= 1000"]
    plain, other = Recipe(), Recipe(tricks={"any": {}})
    failed = make_record(0, plain, phase="baseline", status="failed")
    told = not_in_force(limits, [failed, make_record(1, other)])
    assert told.startswith("Not in force: latency_ms <= 0.5 * baseline. The baseline, which it is relative to, did not")
    assert "has not been run" in not_in_force(limits, [make_record(1, other)])
    assert not_in_force(limits, [failed, make_record(2, plain, phase="baseline")]) == ""
    lacking = replace(make_record(2, plain, phase="baseline"), measures={"accuracy": 90.0})
    assert "has no value of that measure" in not_in_force(limits, [lacking])
    assert not_in_force(limits[1:], [failed]) == not_in_force(limits, []) == ""
