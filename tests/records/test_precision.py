"""Sentences on quantized records: the form, and where it is slower than float."""

from __future__ import annotations

import pytest

from tricksearch.records.precision import float_sibling, forms, slower_than_float
from tricksearch.records.recipe import Recipe

FORM = "INT8 of 8 bits: dynamic; it may be slower than float: the dynamic form finds the range of each activation anew"


@pytest.fixture
def pair(make_record):
    def make(quantized_ms, float_ms, **more):
        whole = Recipe(tricks={"first": {"n": 1}, "short": {"bits": 8}})
        plain = Recipe(tricks={"first": {"n": 1}})
        interval = lambda ms: {"latency_low_ms": 0.95 * ms, "latency_high_ms": 1.05 * ms}  # noqa: E731
        return [
            make_record(3, whole, latency=quantized_ms, precision="quantized", form=FORM, **interval(quantized_ms)),
            make_record(3, plain, latency=float_ms, precision="fp32", variant=1, **interval(float_ms), **more),
        ]

    return make


def test_int8_that_is_slower_is_said_with_figures_and_reason(pair):
    line = slower_than_float(pair(2.0, 1.0))
    assert line.startswith(
        "On this processor 1 of 1 quantized files is slower than the same net in float: 3 takes 2.000 ms, "
    )
    assert "3.1 in float 1.000 ms (the dynamic form finds the range of each activation anew)." in line


def test_nothing_is_said_where_it_is_faster_or_the_intervals_overlap(pair):
    assert slower_than_float(pair(1.0, 2.0)) == ""
    assert slower_than_float(pair(1.05, 1.0)) == ""


def test_a_sibling_is_of_the_same_training_and_the_same_other_tricks(pair, make_record):
    records = pair(2.0, 1.0)
    assert float_sibling(*records[:1], records) is records[1]
    assert float_sibling(records[1], records) is None
    other = make_record(3, Recipe(tricks={"first": {"n": 2}}), precision="fp32", variant=2)
    elsewhere = make_record(4, Recipe(tricks={"first": {"n": 1}}), precision="fp32")
    assert float_sibling(records[0], [records[0], other, elsewhere]) is None


def test_a_variant_with_another_trick_is_no_sibling(pair, make_record):
    quantized = make_record(3, Recipe(tricks={"first": {"n": 1}, "short": {"bits": 8}}), precision="quantized")
    other = make_record(3, Recipe(tricks={"third": {}, "first": {"n": 1}}), precision="fp32", variant=2)
    assert float_sibling(quantized, [quantized, other]) is None


def test_each_form_is_one_sentence(pair):
    assert forms(pair(2.0, 1.0) + pair(3.0, 1.0)) == [f"{FORM} (records 3, 3)."]
