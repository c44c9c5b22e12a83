"""Domains: what they admit, and that a narrowed one stays inside."""

import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tricksearch import Choice, Float, Int, Net
from tricksearch.contract import DomainError

FINITE = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**70), 2**70)
NO_NUMBER = [math.nan, math.inf, -math.inf, True, False, None, "1", "", [1], {"a": 1}]


@given(FINITE, FINITE, FINITE)
def test_a_real_number_is_admitted_exactly_within_its_ends(low, high, value):
    low, high = sorted((low, high))
    domain = Float(low, high)
    if low <= value <= high:
        assert domain.check(value) == value
    else:
        with pytest.raises(DomainError, match="must be"):
            domain.check(value)


@given(st.sampled_from([Float, Int]), WHOLE, WHOLE, WHOLE)
def test_a_whole_number_is_admitted_exactly_within_its_ends(kind, low, high, value):
    low, high = sorted((low, high))
    if low <= value <= high:
        checked = kind(low, high).check(value)
        assert type(checked) is (float if kind is Float else int)
        assert checked == (float(value) if kind is Float else value)
    else:
        with pytest.raises(DomainError, match="must be"):
            kind(low, high).check(value)


@pytest.mark.parametrize("domain", [Float(-1e9, 1e9), Int(-(10**9), 10**9)])
@pytest.mark.parametrize("value", NO_NUMBER)
def test_what_is_no_finite_number_is_refused(domain, value):
    with pytest.raises(DomainError, match="number is needed"):
        domain.check(value)


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e308])
def test_a_number_beyond_every_domain_is_refused(value):
    for domain in (Float(0.0, 1.0), Int(0, 1)):
        with pytest.raises(DomainError, match="must be 0 to 1"):
            domain.check(value)


@given(WHOLE.filter(lambda value: abs(value) < 2**40), st.floats(0.01, 0.99))
def test_a_fraction_is_no_whole_number(whole, part):
    assume((whole + part) % 1)
    with pytest.raises(DomainError, match="a whole number is needed"):
        Int(-(2**41), 2**41).check(whole + part)
    assert Int(-(2**41), 2**41).check(float(whole)) == whole


@given(st.data(), st.sampled_from([Float, Int]))
def test_a_narrowed_interval_stays_inside(data, kind):
    ends = st.integers(-1000, 1000) if kind is Int else st.floats(-1000, 1000)
    low, inner_low, inner_high, high = sorted(data.draw(st.lists(ends, min_size=4, max_size=4)))
    domain = kind(low, high, search=False)
    narrowed = domain.narrow([inner_low, inner_high])
    assert (narrowed.low, narrowed.high) == (inner_low, inner_high)
    assert narrowed.searched, "a study that gives an interval wants it searched"
    value = data.draw(ends)
    try:
        checked = narrowed.check(value)
    except DomainError:
        assert not inner_low <= value <= inner_high
    else:
        assert domain.check(checked) == checked
    assert json.loads(json.dumps([narrowed.low, narrowed.high])) == [narrowed.low, narrowed.high]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([0.2, 0.1], r"the lower end must not be above the upper end, got \[0.2, 0.1\]"),
        ([0.1, 0.9], "must be 0 to 0.3, got 0.9"),
        ([-0.1, 0.1], "must be 0 to 0.3, got -0.1"),
        ([0.1], r"two ends \[low, high\] are needed"),
        ([0.1, 0.2, 0.3], r"two ends \[low, high\] are needed"),
        ([], r"two ends \[low, high\] are needed"),
        ([0.1, math.nan], "a number is needed"),
        (["a", 0.1], "a number is needed, not 'a'"),
    ],
)
def test_an_interval_refuses_to_be_narrowed_so(values, rule):
    with pytest.raises(DomainError, match=rule):
        Float(0.0, 0.3).narrow(values)


@pytest.mark.parametrize("ends", [(0.3, 0.0), (math.nan, 1.0), (0.0, math.nan)])
def test_a_domain_whose_ends_are_wrong_cannot_be_made(ends):
    with pytest.raises(DomainError, match="must not be above"):
        Float(*ends)


def test_a_logarithmic_domain_begins_above_zero():
    with pytest.raises(DomainError, match="must be above 0"):
        Float(0.0, 1.0, log=True)
    assert "log" in Float(0.1, 1.0, log=True).narrow([0.2, 0.5]).describe()


JSON_VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b", "True", "1"])


@given(st.lists(JSON_VALUES, min_size=1, max_size=5, unique_by=repr), st.data())
def test_a_choice_admits_its_options_alone_and_narrows_to_them(options, data):
    domain = Choice(*options)
    for option in options:
        assert repr(domain.check(option)) == repr(option), "True and 1 are two options"
    some = data.draw(st.lists(st.sampled_from(options), min_size=1, max_size=5))
    narrowed = domain.narrow(some)
    assert set(map(repr, narrowed.options)) <= set(map(repr, options))
    assert set(map(repr, narrowed.options)) == set(map(repr, some))
    assert narrowed.searched == (len(narrowed.options) > 1)
    with pytest.raises(DomainError, match="must be one of"):
        domain.check("absent")
    with pytest.raises(DomainError, match="must be one of"):
        domain.narrow([*some, "absent"])


@pytest.mark.parametrize(
    ("domain", "values"),
    [
        (Float(0.0, 1.0, when={"mode": "x"}), [0.1, 0.2]),
        (Int(0, 9, when={"mode": "x"}), [1, 2]),
        (Choice("a", "b", when={"mode": "x"}), ["a"]),
        (Net(when={"mode": "x"}), ["resnet18"]),
    ],
)
def test_a_narrowed_domain_keeps_its_condition(domain, values):
    assert domain.narrow(values).when == {"mode": "x"}
    assert hash(domain) == hash(domain), "the annotation that holds it may be hashed"


def test_an_empty_choice_is_refused():
    with pytest.raises(DomainError, match="at least one option"):
        Choice()
    with pytest.raises(DomainError, match="must not be empty"):
        Choice("a").narrow([])
    with pytest.raises(DomainError, match="must not be empty"):
        Net().narrow([])


def test_a_net_is_a_name_or_a_recipe():
    assert Net().check("resnet18") == "resnet18"
    assert Net().check({"net": "resnet18"}) == {"net": "resnet18"}
    for wrong in (3, None, ["resnet18"], True):
        with pytest.raises(DomainError, match="a net's name or a recipe"):
            Net().check(wrong)
    narrowed = Net().narrow(["resnet18", "resnet34"])
    assert narrowed.searched
    assert not Net().searched
    with pytest.raises(DomainError, match="must be one of resnet18, resnet34, got 'resnet50'"):
        narrowed.check("resnet50")
