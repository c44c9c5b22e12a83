"""The stopwatch, on a machine of the tests' own: what a timing says, and what is remembered of the machine."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trial.measuring.stand_in import StandIn
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.front_timing import tied
from tricksearch.trial.measuring import stopwatch
from tricksearch.trial.measuring.stopwatch import Loaded, Stopwatch, filled

IMAGES = np.arange(2 * 64, dtype=np.float32).reshape(2, 1, 8, 8)
UNLIKE = (-0.03, 0.03) * 3  # levels of copies whose ratio is never known to the precision that is asked for by default


def once(milliseconds):
    """What any batch costs."""
    return lambda images: milliseconds


def time(machine, *files, baseline=0.5, watch=None, **keys):
    """Time files, each given by its milliseconds or as loaded, on a machine."""
    loaded = [file if isinstance(file, Loaded) else Loaded(machine.predictors(once(file))) for file in files]
    watch = watch or Stopwatch(machine)
    return watch.time(loaded, machine.predictors(once(baseline)), IMAGES, LatencySettings(**keys))


def test_a_steady_machine_is_measured_exactly():
    machine = StandIn(slowness=lambda now: 1.25)
    (timing,) = time(machine, 2.0)
    assert timing.ratio == pytest.approx(4.0)
    assert timing.bounds == pytest.approx((4.0, 4.0))
    assert (timing.ms, timing.yardstick_ms, timing.fastest_ms) == pytest.approx((2.5, 0.625, 0.625))
    assert timing.baseline_ms == timing.yardstick_ms
    assert (timing.p95, timing.p99) == pytest.approx((4.0, 4.0))
    assert len(timing.copies) == 6
    assert timing.rounds == 18
    assert timing.runs == pytest.approx(18 * 3, abs=18)  # 6 ms are three calls of 2.5 ms
    assert timing.disturbed == 0.0
    assert timing.reliable
    assert timing.seconds == pytest.approx(machine.time, rel=0.1)
    assert (timing.device_ms, timing.device_p95_ms, timing.memory_bytes) == (None, None, None)
    assert (timing.throughput, timing.note) == ({}, "")


def test_a_busy_neighbour_is_seen_and_the_ratio_is_right_all_the_same():
    machine = StandIn(busy=lambda now: True)
    (timing,) = time(machine, 4.0, baseline=0.06, seconds=1.0)
    assert timing.ratio == pytest.approx(4.0 / 0.06, rel=0.03)
    assert timing.ms == pytest.approx(8.0, rel=0.01), "from outside it took twice as long"
    assert timing.disturbed > 0.9
    assert not timing.reliable


def test_a_neighbour_that_comes_and_goes_is_counted_and_its_rounds_are_not():
    machine = StandIn(busy=lambda now: now % 0.2 < 0.05)
    (timing,) = time(machine, Loaded(machine.predictors(once(4.0), UNLIKE)), baseline=0.06)
    assert timing.ratio == pytest.approx(4.0 / 0.06, rel=0.01)
    assert 0.1 < timing.disturbed < 0.5
    assert timing.reliable
    assert timing.p99 < 4.0 / 0.06 * 1.05, "no call of a disturbed round is in it"


def test_several_threads_are_looked_at_as_such():
    machine = StandIn()
    machine.processor = lambda: 0.0  # it computes elsewhere
    (one,) = time(machine, Loaded(machine.predictors(once(2.0)), threads=1), seconds=0.2)
    (two,) = time(machine, Loaded(machine.predictors(once(2.0)), threads=2), seconds=0.2)
    assert (one.reliable, two.reliable) == (False, True)


def test_a_machine_that_is_slower_in_the_next_measurement_is_known_to_be():
    machine = StandIn(slowness=lambda now: 1.0 if now < 1 else 1.8)
    watch = Stopwatch(machine)
    (first,) = time(machine, 2.0, watch=watch)
    machine.time = 1.0
    (second,) = time(machine, 2.0, watch=watch, seconds=0.5)
    assert (first.ratio, second.ratio) == pytest.approx((4.0, 4.0))
    assert second.ms == pytest.approx(1.8 * first.ms)
    assert second.yardstick_ms == pytest.approx(0.9)
    assert second.fastest_ms == first.fastest_ms == pytest.approx(0.5)
    assert machine.time > 1.5, "it was waited for a faster moment"
    (other,) = time(machine, 2.0, watch=watch, batch=2)
    assert other.fastest_ms == pytest.approx(0.9), "calls of another batch have another yardstick"


def test_the_percentiles_are_those_of_all_calls():
    machine = StandIn()
    calls = iter(range(10**9))

    def slow_at_times(images):
        number = next(calls)
        return 30.0 if number % 50 == 7 else 9.0 if number % 10 == 3 else 1.0

    (timing,) = time(machine, Loaded(machine.predictors(slow_at_times)), block_seconds=0.1, precision=0.002)
    assert timing.ratio == pytest.approx(2.0), "a rare slow call does not move the median of its block"
    assert timing.p95 == pytest.approx(18.0)
    assert timing.p99 == pytest.approx(60.0)


def test_the_throughput_at_other_batch_sizes_is_taken_where_it_is_asked_for():
    """A call costs 1 ms and 0.1 ms an image; the latency is that of a batch of 4."""
    machine, sizes = StandIn(), set()

    def cost(images):
        sizes.add(images)
        return 1.0 + 0.1 * images

    file = Loaded(machine.predictors(cost))
    (alone,) = time(machine, file, batch=4)
    assert (alone.ms, alone.throughput, sizes) == (pytest.approx(1.4), {}, {4})
    (more,) = time(machine, file, batch=4, batches=(1, 4, 16))
    assert more.throughput == pytest.approx({"1": 1 / 1.1e-3, "16": 16 / 2.6e-3})
    assert sizes == {1, 4, 16}


def test_a_slow_net_ends_soon_with_its_throughput():
    machine = StandIn()
    (timing,) = time(machine, Loaded(machine.predictors(once(500.0), [0.0] * 3)), batches=(8,))
    assert timing.ratio == pytest.approx(1000.0)
    assert timing.throughput == pytest.approx({"8": 16.0})
    assert machine.time < 0.5 * (6 + 1 + stopwatch.MIN_BATCHES) + 0.1


def test_one_copy_has_no_bounds():
    machine = StandIn()
    (timing,) = time(machine, Loaded(machine.predictors(once(2.0), [0.0])), seconds=0.1)
    assert timing.ratio == pytest.approx(4.0)
    assert timing.bounds is None


def test_several_files_come_back_in_their_order_from_the_same_rounds():
    machine = StandIn(slowness=lambda now: 1.0 + now)
    timings = time(machine, 3.0, 1.0, Loaded(machine.predictors(once(2.0), [0.0] * 4)))
    assert [timing.ratio for timing in timings] == pytest.approx([6.0, 2.0, 4.0], rel=0.02)
    assert {len(timing.copies) for timing in timings} == {4}, "of each as many as of the one with the fewest"
    assert len({timing.rounds for timing in timings}) == 1


def test_several_files_have_as_much_more_time():
    machine = StandIn()
    unlike = [Loaded(machine.predictors(once(2.0), UNLIKE)) for _ in range(3)]
    time(machine, *unlike, seconds=0.5)
    assert 1.5 <= machine.time < 2.0


def test_ties_are_those_whose_difference_is_within_its_interval():
    draw, machine = np.random.default_rng(0), StandIn()
    levels = {name: draw.normal(0, 0.01, 8) for name in "abcd"}
    costs = {"a": 2.0, "b": 3.0, "c": 2.005, "d": 3.3}
    files = [Loaded(machine.predictors(once(costs[name]), levels[name])) for name in costs]
    timings = dict(zip(costs, time(machine, *files, seconds=0.3), strict=True))
    assert [sorted(group) for group in tied(timings)] == [["a", "c"]]
    assert tied({"b": timings["b"], "d": timings["d"]}) == []


@settings(max_examples=30, deadline=None)
@given(milliseconds=st.lists(st.floats(0.5, 5), min_size=1, max_size=4), shared=st.floats(-0.2, 0.2))
def test_what_the_copies_have_in_common_makes_no_tie(milliseconds, shared):
    """Copies of different files that differ together, as where rounds were slow, are compared round by round."""
    machine = StandIn()
    levels = np.linspace(-shared, shared, 4)
    files = [Loaded(machine.predictors(once(value), levels)) for value in milliseconds]
    timings = time(machine, *files, seconds=0.02)
    order = np.argsort([timing.ratio for timing in timings], kind="stable")
    assert [milliseconds[at] for at in order] == pytest.approx(sorted(milliseconds))
    groups = tied({str(at): timing for at, timing in enumerate(timings)})
    for group in groups:
        assert [milliseconds[int(at)] for at in group] == pytest.approx([milliseconds[int(group[0])]] * len(group))


def test_a_device_is_timed_by_itself_beside_the_call_from_outside():
    """The processor stands in for a device: what the stopwatch asks of one is the same."""
    machine, prepared = StandIn(), []

    def loaded(milliseconds):
        def predict(images):
            machine.compute(4.0)

        def on_device(images):
            prepared.append(images.shape)
            return machine.call(milliseconds)

        predict.on_device = on_device
        return predict

    (timing,) = time(machine, Loaded([loaded(1.0), loaded(1.0), loaded(3.0)]), batch=3)
    assert prepared == [(3, 1, 8, 8)] * 3, "every copy is"
    assert timing.ms == pytest.approx(4.0)
    assert timing.device_ms == pytest.approx(1.0)
    assert timing.device_p95_ms == pytest.approx(3.0)
    assert timing.note == ""


def test_a_device_that_cannot_be_timed_costs_its_own_time_alone():
    machine = StandIn()

    def refuse(images):
        raise RuntimeError("no stream for it")

    predictors = machine.predictors(once(2.0))
    for predictor in predictors:
        predictor.on_device = refuse
    (timing,) = time(machine, Loaded(predictors))
    assert timing.ratio == pytest.approx(4.0)
    assert timing.device_ms is None
    assert timing.note == "no device times: RuntimeError: no stream for it"


def test_on_a_gpu_the_yardstick_is_there_and_the_plain_net_is_timed_beside(monkeypatch):
    """The GPU slows down by 1.6 and the processor does not: ratios to the product on the GPU hold."""
    ratios = []
    for slow in (1.0, 1.6):
        machine = StandIn()
        monkeypatch.setattr(stopwatch.gpu, "reference", lambda machine=machine, slow=slow: machine.call(0.8 * slow))
        (timing,) = time(machine, Loaded(machine.predictors(once(2.0 * slow)), device="cuda"), baseline=0.5)
        ratios.append(timing.ratio)
        assert timing.yardstick_ms == pytest.approx(0.8 * slow)
        assert timing.baseline_ms == pytest.approx(0.5)
        assert timing.bounds == pytest.approx((2.5, 2.5))
    assert ratios == pytest.approx([2.5, 2.5])


def test_on_a_gpu_time_of_which_the_processor_has_little_is_no_disturbance(monkeypatch):
    machine = StandIn()
    machine.processor = lambda: 0.1 * machine.time
    monkeypatch.setattr(stopwatch.gpu, "reference", lambda: machine.call(0.8))
    (timing,) = time(machine, Loaded(machine.predictors(once(2.0)), device="cuda"))
    assert timing.reliable
    assert math.isclose(timing.ratio, 2.5)


@given(images=st.integers(1, 9), batch=st.integers(1, 20))
def test_a_batch_is_filled_with_the_images_in_turn(images, batch):
    numbered = np.arange(images, dtype=np.float32).reshape(-1, 1, 1, 1) * np.ones((1, 1, 2, 2), np.float32)
    made = filled(numbered, batch)
    assert made.dtype == np.float32
    assert made.shape == (batch, 1, 2, 2)
    assert (made == (np.arange(batch) % images).reshape(-1, 1, 1, 1)).all()
