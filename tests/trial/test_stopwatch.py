"""The stopwatch, on a clock of the test's own: exact numbers, and no machine that could make them flaky."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from tricksearch.trial import stopwatch
from tricksearch.trial.settings import LatencySettings
from tricksearch.trial.stopwatch import Timing, time_latency

IMAGES = np.zeros((1, 1, 8, 8), dtype=np.float32)


class Clock:
    """Moves when something is called, by what that call costs."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def costs(self, milliseconds: Callable[[int], float]) -> Callable[..., None]:
        """A callable whose n-th call takes `milliseconds(n)`."""
        calls = iter(range(10**9))

        def call(*_: object) -> None:
            self.now += milliseconds(next(calls)) / 1e3

        return call


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(stopwatch, "time", made)
    return made


@pytest.fixture
def reference(clock, monkeypatch):
    """Let the reference graph take this long: a function of the clock's seconds."""

    def takes(milliseconds: Callable[[float], float]) -> None:
        call = clock.costs(lambda _: milliseconds(clock.now))
        monkeypatch.setattr(stopwatch, "_reference", lambda: call)

    takes(lambda _: 0.1)
    return takes


def test_a_steady_machine_is_measured_exactly_and_once(clock, reference):
    settings = LatencySettings(blocks=4, block_seconds=0.03)
    timing = time_latency(clock.costs(lambda _: 2.0), IMAGES, settings)
    assert timing.median_ms == pytest.approx(2.0)
    assert timing.p95_ms == pytest.approx(2.0)
    assert timing.drift == pytest.approx(1.0)
    assert timing.runs == pytest.approx(4 * 15, abs=4)  # 30 ms are 15 calls of 2 ms; a rounded clock may add one
    assert clock.now < 1.5 * (0.03 * 4 + 0.03 * 2)


def test_the_first_calls_are_not_counted(clock, reference):
    slow_start = clock.costs(lambda call: 50.0 if call < stopwatch.WARM_UP_CALLS else 1.0)
    timing = time_latency(slow_start, IMAGES, LatencySettings(blocks=3, block_seconds=0.02))
    assert timing.median_ms == pytest.approx(1.0)
    assert timing.p95_ms == pytest.approx(1.0)


def test_a_slow_net_still_gets_calls(clock, reference):
    timing = time_latency(clock.costs(lambda _: 500.0), IMAGES, LatencySettings(blocks=3, block_seconds=0.02))
    assert timing.runs == 3 * stopwatch.MIN_CALLS
    assert timing.median_ms == pytest.approx(500.0)


def test_rare_slow_calls_are_seen_by_p95_and_not_by_the_median(clock, reference):
    timing = time_latency(
        clock.costs(lambda call: 9.0 if call % 10 == 0 else 1.0), IMAGES, LatencySettings(blocks=5, block_seconds=0.2)
    )
    assert timing.median_ms == pytest.approx(1.0)
    assert timing.p95_ms == pytest.approx(9.0)


def test_a_disturbed_block_does_not_move_the_median(clock, reference):
    settings = LatencySettings(blocks=3, block_seconds=0.02)
    # 10 calls of warm-up, then blocks of 20: the first of them ten times as slow.
    timing = time_latency(clock.costs(lambda call: 4.0 if 10 <= call < 15 else 1.0), IMAGES, settings)
    assert timing.median_ms == pytest.approx(1.0)


def test_a_machine_that_drifts_is_measured_again_and_the_steadiest_kept(clock, reference):
    settings = LatencySettings(blocks=3, block_seconds=0.02)
    attempts = []
    reference(lambda now: 0.1 * 1.02 ** (now * 1e3 / 10) if now < 0.15 else 0.2)
    calls = clock.costs(lambda _: 1.0)

    def predict(images: np.ndarray) -> None:
        attempts.append(clock.now)
        calls()

    timing = time_latency(predict, IMAGES, settings)
    assert timing.drift == pytest.approx(1.0)
    assert len(attempts) > 1.5 * (timing.runs + stopwatch.WARM_UP_CALLS), "measured twice at the least"


def test_a_machine_that_never_holds_still_is_told(clock, reference):
    growth = iter(range(10**9))
    reference(lambda _: 0.1 * 1.001 ** next(growth))
    timing = time_latency(clock.costs(lambda _: 1.0), IMAGES, LatencySettings(blocks=3, block_seconds=0.02))
    assert timing.drift > 1 + stopwatch.DRIFT


def test_real_time(scratch):
    calls = []

    def slow(images: np.ndarray) -> np.ndarray:
        assert images is IMAGES
        calls.append(1)
        time.sleep(0.005)
        return images

    timing = time_latency(slow, IMAGES, LatencySettings(blocks=3, block_seconds=0.02))
    assert isinstance(timing, Timing)
    assert 5.0 <= timing.median_ms < 50.0
    assert timing.median_ms <= timing.p95_ms
    assert 3 * stopwatch.MIN_CALLS <= timing.runs < len(calls)
    assert timing.drift > 0
