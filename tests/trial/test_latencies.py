"""What a record says of a timing."""

import math
from dataclasses import replace

import pytest

from tricksearch.records.settings import LatencySettings
from tricksearch.trial.latencies import measures_of

SETTINGS = LatencySettings()


def test_milliseconds_are_those_of_one_moment_and_the_timing_says_what_they_were(steady_timing):
    """The machine is slower by 1.5 than when the yardstick took 0.5 ms, which milliseconds refer to."""
    timing = steady_timing(4.0, SETTINGS, ms=3.0, yardstick_ms=0.75, baseline_ms=0.75, fastest_ms=0.7, p95=5.0, p99=6.0)
    measured = measures_of(timing, 0.5, SETTINGS, "mark", "cpu")
    assert measured["latency_ms"] == pytest.approx(2.0)
    assert measured["latency_ratio"] == pytest.approx(4.0)
    assert (measured["latency_p95_ms"], measured["latency_p99_ms"]) == pytest.approx((2.5, 3.0))
    low, high = timing.bounds
    assert (measured["latency_low_ms"], measured["latency_high_ms"]) == pytest.approx((low / 2, high / 2))
    assert low < 4.0 < high
    moment = measured["timing"]
    assert (moment["ms"], moment["low_ms"], moment["high_ms"]) == pytest.approx((3.0, 0.75 * low, 0.75 * high))
    assert (moment["yardstick_ms"], moment["fastest_ms"], moment["refers_to_ms"]) == (0.75, 0.7, 0.5)
    assert measured["graph"] == "mark"
    assert (measured["latency_rounds"], measured["latency_disturbed"], measured["latency_note"]) == (9, 0.0, "")


def test_the_throughput_is_the_best_of_the_batch_sizes_at_that_moment(steady_timing):
    settings = LatencySettings(batch=2, batches=(8,))
    timing = steady_timing(4.0, settings, ms=3.0, yardstick_ms=0.75, throughput={"8": 1000.0})
    measured = measures_of(timing, 0.5, settings, "mark", "cpu")
    assert measured["throughputs"] == pytest.approx({"2": 1000.0, "8": 1500.0}), "at the faster moment"
    assert measured["throughput"] == pytest.approx(1500.0)


def test_on_a_gpu_the_ratio_is_still_that_to_the_plain_net(steady_timing):
    timing = steady_timing(4.0, SETTINGS, ms=3.2, yardstick_ms=0.8, baseline_ms=0.4)
    measured = measures_of(timing, 0.8, SETTINGS, "mark", "cuda")
    assert measured["latency_ms"] == pytest.approx(3.2)
    assert measured["latency_ratio"] == pytest.approx(8.0)


def test_one_copy_has_no_interval(steady_timing):
    timing = steady_timing(4.0, SETTINGS, copies=(math.log(4.0),))
    measured = measures_of(timing, 1.0, SETTINGS, "mark", "cpu")
    moment = measured["timing"]
    assert measured["latency_ms"] == pytest.approx(4.0)
    assert measured["latency_low_ms"] is measured["latency_high_ms"] is moment["low_ms"] is moment["high_ms"] is None


def test_what_disturbed_it_is_noted(steady_timing):
    timing = steady_timing(4.0, SETTINGS, disturbed=0.7, yardstick_ms=1.3, note="no device times: why")
    assert measures_of(timing, 1.0, SETTINGS, "mark", "cpu")["latency_note"].split("; ") == [
        "no device times: why",
        "other programs had the processor in 70 % of the rounds: the latency is less sure than its interval says, and "
        "is not shared with other nets",
        "taken while the machine was x 1.30 slower than at its fastest",
    ]
    calm = replace(timing, disturbed=0.5, yardstick_ms=1.1, note="")
    assert measures_of(calm, 1.0, SETTINGS, "mark", "cpu")["latency_note"] == ""


def test_each_timing_has_a_mark_of_its_own(steady_timing):
    timing = steady_timing(4.0, SETTINGS)
    first, second = (measures_of(timing, 1.0, SETTINGS, "mark", "cpu")["timing"]["id"] for _ in range(2))
    assert first != second
