"""The stopwatch, on a clock of the test's own: exact numbers, and no machine that could make them flaky."""

import mmap
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring import stopwatch
from tricksearch.trial.measuring.stopwatch import Timing, added_memory, filled, time_latency

IMAGES = np.arange(2 * 64, dtype=np.float32).reshape(2, 1, 8, 8)
LATENCY_ONLY = {"batches": (1,)}
MIB = 2**20


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


def settings(**keys) -> LatencySettings:
    return LatencySettings(**({"blocks": 3, "block_seconds": 0.02} | LATENCY_ONLY | keys))


def test_a_steady_machine_is_measured_exactly_and_once(clock, reference):
    timing = time_latency(clock.costs(lambda _: 2.0), IMAGES, settings(blocks=4, block_seconds=0.03))
    assert timing.median_ms == pytest.approx(2.0)
    assert timing.p95_ms == pytest.approx(2.0)
    assert timing.p99_ms == pytest.approx(2.0)
    assert timing.spread == pytest.approx(0.0, abs=1e-9)
    assert timing.drift == pytest.approx(1.0)
    assert timing.attempts == 1
    assert timing.runs == pytest.approx(4 * 15, abs=4)  # 30 ms are 15 calls of 2 ms; a rounded clock may add one
    assert timing.memory_bytes is None
    assert clock.now < 1.5 * (0.03 * 4 + 0.03 * 2)


def test_the_first_calls_are_not_counted(clock, reference):
    slow_start = clock.costs(lambda call: 50.0 if call < stopwatch.WARM_UP_CALLS else 1.0)
    timing = time_latency(slow_start, IMAGES, settings())
    assert timing.median_ms == pytest.approx(1.0)
    assert timing.p99_ms == pytest.approx(1.0)


def test_the_warm_up_lasts_until_the_net_is_steady(clock, reference):
    # Every call is 5 % faster than the one before, until the 60th: long after the fewest calls of a warm-up.
    timing = time_latency(clock.costs(lambda call: 0.95 ** min(call, 60)), IMAGES, settings())
    assert timing.p99_ms == pytest.approx(0.95**60)


def test_a_net_that_never_gets_steady_is_not_waited_for(clock, reference):
    growing = clock.costs(lambda call: 1.05**call)
    calls = []

    def predict(images: np.ndarray) -> None:
        calls.append(clock.now)
        growing()

    timing = time_latency(predict, IMAGES, settings())
    assert timing.attempts == stopwatch.ATTEMPTS
    assert len(calls) <= stopwatch.ATTEMPTS * (stopwatch.PIECES * 5 + 3 * 20)
    assert timing.spread > 0.2
    assert not timing.steady


def test_a_slow_net_still_gets_calls(clock, reference):
    timing = time_latency(clock.costs(lambda _: 500.0), IMAGES, settings(batches=(1, 8)))
    assert timing.runs == 3 * stopwatch.MIN_CALLS
    assert timing.median_ms == pytest.approx(500.0)
    assert timing.throughput == pytest.approx({"1": 2.0, "8": 16.0})
    assert clock.now < 0.5 * (stopwatch.WARM_UP_CALLS + timing.runs + 5) + 1


def test_rare_slow_calls_are_seen_by_the_percentiles_and_not_by_the_median(clock, reference):
    slow = clock.costs(lambda call: 30.0 if call % 50 == 0 else 9.0 if call % 10 == 0 else 1.0)
    timing = time_latency(slow, IMAGES, settings(blocks=5, block_seconds=0.4))
    assert timing.median_ms == pytest.approx(1.0)
    assert timing.p95_ms == pytest.approx(9.0)
    assert timing.p99_ms == pytest.approx(30.0)
    assert timing.spread == pytest.approx(0.0, abs=1e-9)


def test_a_disturbed_block_does_not_move_the_median(clock, reference):
    # 10 calls of warm-up in two pieces, then blocks of 20: the first of them is four times as slow.
    disturbed = clock.costs(lambda call: 4.0 if 10 <= call < 15 else 1.0)
    timing = time_latency(disturbed, IMAGES, settings(blocks=5))
    assert (timing.attempts, timing.median_ms) == (1, pytest.approx(1.0))
    assert timing.p99_ms == pytest.approx(4.0)


def test_the_spread_is_that_of_the_blocks(clock, reference, monkeypatch):
    monkeypatch.setattr(stopwatch, "SPREAD", 1.0)
    # Blocks of 20 ms at 1, 2, 3, 4 and 5 ms a call, behind 20 ms of the reference and a warm-up of 10 ms.
    slower = clock.costs(lambda _: 1.0 + max(0.0, (clock.now - 0.03) // 0.02))
    timing = time_latency(slower, IMAGES, settings(blocks=5))
    assert timing.median_ms == pytest.approx(3.0)
    assert timing.spread == pytest.approx((4.0 - 2.0) / 3.0)


def test_a_machine_that_drifts_is_measured_again_and_the_steadiest_kept(clock, reference):
    """The reference slows down for a while, and the net with it."""

    def slowness(now: float) -> float:
        return 1.02 ** (min(now, 0.15) * 1e2)

    reference(lambda now: 0.1 * slowness(now))
    timing = time_latency(clock.costs(lambda _: slowness(clock.now)), IMAGES, settings())
    assert timing.drift == pytest.approx(1.0)
    assert timing.median_ms == pytest.approx(slowness(1.0))
    assert timing.attempts == 3


def test_a_drift_of_two_percent_is_the_bound(clock, reference):
    for step, attempts in ((1.015, 1), (1.03, 2), (1 / 1.03, 2)):
        start = clock.now
        reference(lambda now, start=start, step=step: 0.1 if now < start + 0.05 else 0.1 * step)
        timing = time_latency(clock.costs(lambda _: 1.0), IMAGES, settings())
        assert timing.attempts == attempts, step
        assert abs(timing.drift - 1) < stopwatch.DRIFT == 0.02


def test_what_comes_and_goes_between_two_looks_at_the_reference_is_measured_again(clock, reference):
    reference(lambda _: 0.1)
    start = clock.now
    disturbed = clock.costs(lambda _: 1.4 if 0.06 < clock.now - start < 0.12 else 1.0)
    timing = time_latency(disturbed, IMAGES, settings(blocks=5))
    assert timing.attempts == 2
    assert timing.median_ms == pytest.approx(1.0)
    assert timing.spread == pytest.approx(0.0)
    assert timing.steady


def test_a_machine_that_never_holds_still_is_told(clock, reference):
    growth = iter(range(10**9))
    reference(lambda _: 0.1 * 1.001 ** next(growth))
    timing = time_latency(clock.costs(lambda _: 1.0), IMAGES, settings())
    assert timing.drift > 1 + stopwatch.DRIFT
    assert timing.attempts == stopwatch.ATTEMPTS
    assert not timing.steady


def test_where_it_never_holds_still_the_attempt_with_the_least_drift_is_kept(clock, monkeypatch):
    """Each look at the reference is slower than the one before: by 10, 3, 15 and 20 percent."""
    levels, looks = [0.1, 0.11, 0.11 * 1.03, 0.13, 0.156], [0]

    def reference() -> None:
        looks[-1] += 1
        clock.now += levels[len(looks) // 2] / 1e3

    def predict(images: np.ndarray) -> None:
        if looks[-1]:
            looks.extend([0, 0])
        clock.now += len(looks) // 2 / 1e3  # as many milliseconds as attempts

    monkeypatch.setattr(stopwatch, "_reference", lambda: reference)
    timing = time_latency(predict, IMAGES, settings())
    assert timing.attempts == stopwatch.ATTEMPTS == 4
    assert timing.drift == pytest.approx(1.03)
    assert timing.median_ms == pytest.approx(2.0)


def test_throughput_at_each_batch_size(clock, reference):
    """A call costs 1 ms and 0.1 ms an image; the latency is that of a batch of 4."""
    sizes = set()

    def predict(images: np.ndarray) -> None:
        sizes.add(images.shape)
        clock.now += 1e-3 + 1e-4 * len(images)

    timing = time_latency(predict, IMAGES, settings(batch=4, batches=(1, 4, 16)))
    assert timing.median_ms == pytest.approx(1.4)
    assert timing.throughput == pytest.approx({"1": 1 / 1.1e-3, "4": 4 / 1.4e-3, "16": 16 / 2.6e-3})
    assert sizes == {(1, 1, 8, 8), (4, 1, 8, 8), (16, 1, 8, 8)}


def test_the_default_costs_little_more_than_its_blocks(clock, reference):
    """What the demo spends: 0.2 s for a latency at blocks of 0.02 s, the reference and the throughput with it."""
    time_latency(clock.costs(lambda _: 0.05), IMAGES, LatencySettings(block_seconds=0.02))
    assert clock.now < 0.2


@given(images=st.integers(1, 9), batch=st.integers(1, 20))
def test_a_batch_is_filled_with_the_images_in_turn(images, batch):
    numbered = np.arange(images, dtype=np.float32).reshape(-1, 1, 1, 1) * np.ones((1, 1, 2, 2), np.float32)
    made = filled(numbered, batch)
    assert made.dtype == np.float32
    assert made.shape == (batch, 1, 2, 2)
    assert (made == (np.arange(batch) % images).reshape(-1, 1, 1, 1)).all()


@pytest.mark.parametrize("batches", [(), (0,), (2000,), (1,) * 9])
def test_batch_sizes_that_cannot_be_timed_are_refused(batches):
    with pytest.raises(ValidationError, match="batches"):
        LatencySettings(batches=batches)


def test_added_memory_is_the_peak_and_not_what_was_there():
    before = np.ones(64 * MIB, np.uint8)
    kept = []

    def act() -> None:
        with mmap.mmap(-1, 48 * MIB) as passing:  # goes back to the system, whatever the allocator would keep
            for page in range(0, 48 * MIB, 4096):
                passing[page] = 1
        kept.append(np.ones(16 * MIB, np.uint8))

    added = added_memory(act)
    assert len(kept) == len(before) // (64 * MIB) == 1
    if added is None:
        pytest.skip("this system does not tell the peak of a process's memory")
    assert 47 * MIB < added < 60 * MIB  # the system counts to about a quarter of a MiB
    assert added_memory(lambda: None) < 4 * MIB


def test_where_the_system_does_not_tell_there_is_no_number(monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError("not here")

    calls = []
    monkeypatch.setattr(stopwatch.Path, "write_text", refuse)
    assert added_memory(lambda: calls.append(1)) is None
    monkeypatch.undo()
    monkeypatch.setattr(stopwatch.Path, "read_text", refuse)
    assert added_memory(lambda: calls.append(1)) is None
    assert calls == [1, 1]


def test_real_time():
    shapes = []

    def slow(images: np.ndarray) -> np.ndarray:
        shapes.append(images.shape)
        time.sleep(0.005)
        return images

    start = time.perf_counter()
    timing = time_latency(slow, IMAGES, LatencySettings(blocks=3, block_seconds=0.02, batches=(1, 4)))
    assert isinstance(timing, Timing)
    assert timing.median_ms >= 5.0
    # In two of the three blocks, three calls or more took as long as the median or longer.
    assert 6 * timing.median_ms <= 1e3 * (time.perf_counter() - start)
    assert timing.median_ms <= timing.p95_ms <= timing.p99_ms
    assert 3 * stopwatch.MIN_CALLS <= timing.runs < len(shapes)
    assert set(shapes) == {(1, 1, 8, 8), (4, 1, 8, 8)}
    assert timing.drift > 0
    assert 1 <= timing.attempts <= stopwatch.ATTEMPTS
    assert timing.spread >= 0
    assert timing.throughput.keys() == {"1", "4"}
    assert timing.throughput["1"] == pytest.approx(1e3 / timing.median_ms)
    assert timing.throughput["4"] <= 4 / 0.005


def test_a_device_is_timed_by_itself_beside_the_call_from_outside(clock, reference):
    """The CPU stands in for a device: what the stopwatch asks of one is the same."""
    prepared = []

    def prepare(images: np.ndarray):
        prepared.append(images.shape)
        return clock.costs(lambda _: 1.0)

    predict = clock.costs(lambda _: 4.0)
    predict.on_device = prepare
    timing = time_latency(predict, IMAGES, settings(batch=3))
    assert prepared == [(3, 1, 8, 8)]
    assert timing.median_ms == pytest.approx(4.0)
    assert timing.device_ms == pytest.approx(1.0)
    assert timing.device_p95_ms == pytest.approx(1.0)
    assert timing.note == ""


def test_without_a_device_of_its_own_there_is_no_such_time(clock, reference):
    timing = time_latency(clock.costs(lambda _: 2.0), IMAGES, settings())
    assert (timing.device_ms, timing.device_p95_ms, timing.note) == (None, None, "")


def test_a_device_that_cannot_be_timed_costs_its_own_time_alone(clock, reference):
    def refuse(images: np.ndarray):
        raise RuntimeError("no stream for it")

    predict = clock.costs(lambda _: 2.0)
    predict.on_device = refuse
    timing = time_latency(predict, IMAGES, settings())
    assert timing.median_ms == pytest.approx(2.0)
    assert timing.device_ms is None
    assert timing.note == "no device times: RuntimeError: no stream for it"


def test_a_gpu_that_drifts_is_seen_beside_a_processor_that_holds(clock, reference, monkeypatch):
    """A second reference runs on the GPU: it slows down by 5 % during the first attempt."""
    start = clock.now
    of_gpu = clock.costs(lambda _: 1.0 if clock.now < start + 0.08 else 1.05)
    monkeypatch.setattr(stopwatch.gpu, "reference", lambda: of_gpu)
    predict = clock.costs(lambda _: 2.0)
    assert time_latency(predict, IMAGES, settings(block_seconds=0.03), "cpu").attempts == 1
    clock.now = start
    timing = time_latency(predict, IMAGES, settings(block_seconds=0.03), "cuda")
    assert timing.attempts == 2
    assert timing.drift == pytest.approx(1.0)
