"""Rounds, on a machine of the tests' own: exact numbers, and no load of this one that could make them flaky."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trial.measuring.stand_in import StandIn
from tricksearch.trial.measuring.rounds import CYCLES, ENOUGH, SLOW, SYSTEM, Block, Round, Rounds, interval, take_rounds

SIMULATED = 240  # measurements behind a coverage: its own standard error is 1.4 points
LEVEL = 0.025  # by which two loadings of one small file differ
UNLIKE = (-0.03, 0.03) * 3  # levels of copies whose ratio is never known to a few percent, and whose mean is exact


def taken(machine, files, yardstick, **keys):
    options = {"precision": 0.02, "seconds": 1.0, "block_seconds": 0.006, "clock": machine}
    return take_rounds(files, yardstick, **options | keys)


def ratio(rounds, file=0):
    return math.exp(interval(rounds.copies()[file])[0])


@settings(max_examples=30, deadline=None)
@given(first=st.floats(0.02, 20), second=st.floats(0.02, 20), copies=st.integers(ENOUGH, 9))
def test_on_a_steady_machine_the_ratio_is_exact_and_soon_known(first, second, copies):
    machine = StandIn()
    rounds = taken(machine, [machine.copies(first, [0.0] * copies)], machine.copies(second, [0.0] * copies))
    assert ratio(rounds) == pytest.approx(first / second, rel=1e-9)
    assert len(rounds.taken) == len(rounds.kept) == CYCLES * copies
    assert rounds.fastest == pytest.approx(second / 1e3)
    assert not rounds.mostly_disturbed


def test_with_few_copies_rounds_do_not_end_early():
    """Their spread may be small by luck: to stop at such a moment would be to choose it."""
    machine = StandIn()
    taken(machine, [machine.copies(1.0, [0.0] * (ENOUGH - 1))], machine.copies(1.0), seconds=1.5)
    assert machine.now() >= 1.5


def test_each_round_has_a_block_of_each_file_as_long_as_it_is_to_be():
    machine = StandIn()
    rounds = taken(machine, [machine.copies(1.5), machine.copies(9.0)], machine.copies(0.12), block_seconds=0.01)
    assert {tuple(len(block.calls) for block in one.files) for one in rounds.taken} == {(7, 2)}
    assert {one.copy for one in rounds.taken} == set(range(6))
    assert {len(one.yardstick.calls) for one in rounds.taken} == {83}, "of 84 the first is cold"


def test_the_first_call_of_a_block_does_not_count_where_it_is_short():
    """It finds the caches full of another file's data."""
    machine = StandIn()
    last = [None]

    def file(name, milliseconds):
        def call():
            machine.compute(milliseconds * (5 if last[0] != name else 1))
            last[0] = name

        return call

    copies, yardstick = [file("file", 0.05)] * 3, [file("yardstick", 0.1)] * 3
    rounds = taken(machine, [copies], yardstick)
    assert max(block.calls.max() for one in rounds.taken for block in (*one.files, one.yardstick)) < 0.15e-3
    assert ratio(rounds) == pytest.approx(0.5)


def test_the_blocks_of_a_round_come_in_any_order():
    machine, calls = StandIn(), []

    def named(name):
        def call():
            machine.compute(10.0)
            calls.append(name)

        return call

    taken(machine, [[named("a")] * 8, [named("b")] * 8], [named("y")] * 8)
    orders = {tuple(calls[at : at + 3]) for at in range(0, len(calls), 3)}
    assert {tuple(sorted(order)) for order in orders} == {("a", "b", "y")}
    assert len(orders) >= 4


def test_a_busy_neighbour_doubles_the_wall_time_and_not_the_ratio():
    """Steady load: slices of 4 ms, a net of 4 ms, a baseline of 0.06 ms."""
    machine = StandIn(busy=lambda now: True)
    rounds = taken(machine, [machine.copies(4.0)], machine.copies(0.06))
    assert np.median([one.files[0].median for one in rounds.taken]) == pytest.approx(8e-3, rel=0.01)
    assert ratio(rounds) == pytest.approx(4.0 / 0.06, rel=1e-3)
    assert rounds.mostly_disturbed
    assert rounds.kept == rounds.taken
    assert machine.time > 1.0, "it may get better as long as there is time"


def test_rounds_that_were_disturbed_now_and_then_are_dropped_and_counted():
    machine = StandIn(busy=lambda now: now % 0.2 < 0.05)
    rounds = taken(machine, [machine.copies(4.0)], machine.copies(0.06), precision=0.002)
    dropped = [one for one in rounds.taken if one.disturbed]
    assert 0.1 < len(dropped) / len(rounds.taken) < 0.5
    assert rounds.kept == [one for one in rounds.taken if not one.disturbed]
    assert not rounds.mostly_disturbed
    assert ratio(rounds) == pytest.approx(4.0 / 0.06, rel=1e-6)
    assert all(one.files[0].calls.max() < 4.01e-3 for one in rounds.kept)


def test_with_several_threads_an_interruption_tells_that_others_had_the_processor():
    """What two threads compute in a second is two seconds: it cannot show that some of it is missing."""
    machine = StandIn(busy=lambda now: True)
    machine.processor = lambda: 2 * machine.time
    one = taken(machine, [machine.copies(4.0)], machine.copies(0.06), seconds=0.2)
    more = taken(machine, [machine.copies(4.0)], machine.copies(0.06), seconds=0.2, one_thread=False)
    assert not any(each.disturbed for each in one.taken)
    assert all(each.disturbed for each in more.taken)
    alone = StandIn()
    alone.processor = lambda: 0.0
    free = taken(alone, [alone.copies(4.0)], alone.copies(0.06), seconds=0.2, one_thread=False)
    assert not any(each.disturbed for each in free.taken)


def against_itself(copies, draw, **keys):
    """The middle and the half width of the interval of a graph against itself, its loadings at random levels."""
    machine = StandIn()
    levels = draw.normal(0, LEVEL, (2, copies))
    keys = {"seconds": 0.1, "block_seconds": 0.002} | keys
    return interval(
        taken(machine, [machine.copies(1.0, levels[0])], machine.copies(1.0, levels[1]), **keys).copies()[0]
    )


def test_the_interval_of_a_graph_against_itself_covers_one_as_often_as_it_says():
    draw = np.random.default_rng(4)
    widths = []
    for copies in (4, 16):
        found = np.array([against_itself(copies, draw) for _ in range(SIMULATED)])
        assert 0.915 <= np.mean(np.abs(found[:, 0]) <= found[:, 1]) <= 0.985
        widths.append(found[:, 1].mean())
    assert widths[1] < widths[0] / 2, "more copies make it narrower"


@pytest.mark.parametrize(("copies", "yardsticks"), [(3, 7), (4, 4), (5, 2)])
def test_a_copy_of_a_file_meets_copies_of_the_yardstick_of_its_own(copies, yardsticks):
    machine, calls = StandIn(), []

    def named(*name):
        def call():
            machine.compute(10.0)
            calls.append(name)

        return call

    files = [[named("file", copy) for copy in range(copies)]]
    taken(machine, files, [named("yardstick", copy) for copy in range(yardsticks)], precision=0.002)
    pairs = {tuple(dict(calls[at : at + 2])[name] for name in ("file", "yardstick")) for at in range(0, len(calls), 2)}
    shared = max(1, copies // yardsticks + (copies % yardsticks > 0))
    for yardstick in range(yardsticks):
        assert sum(beside == yardstick for _, beside in pairs) <= shared
    assert {copy for copy, _ in pairs} == set(range(copies))
    assert len({beside for _, beside in pairs}) >= min(copies, yardsticks)


def test_a_machine_that_slows_down_in_the_middle_leaves_the_ratio():
    machine = StandIn(slowness=lambda now: 1.0 if now < 0.25 else 1.8)
    rounds = taken(machine, [machine.copies(2.0, UNLIKE)], machine.copies(0.5), seconds=0.5)
    assert max(one.yardstick.median for one in rounds.taken) == pytest.approx(0.9e-3)
    assert ratio(rounds) == pytest.approx(4.0, rel=1e-3)
    assert rounds.fastest == pytest.approx(0.5e-3)


@pytest.mark.parametrize("first", [True, False], ids=["fast, then slow", "slow, then fast"])
def test_where_ratios_differ_by_state_the_rounds_of_the_fastest_count(first):
    """In the slow state the file slows down by a tenth more than the yardstick does."""

    def fast(now):
        return (now < 0.25) == first

    machine = StandIn(slowness=lambda now: 1.0 if fast(now) else 1.8)
    file = [machine.call(lambda now, level=level: level * (2.0 if fast(now) else 2.2)) for level in np.exp(UNLIKE)]
    rounds = taken(machine, [file], machine.copies(0.5), seconds=0.5)
    assert ratio(rounds) == pytest.approx(4.0, rel=0.01)
    assert 0 < len(rounds.kept) < len(rounds.taken)
    assert all(one.yardstick.median <= SLOW * 0.5e-3 for one in rounds.kept)


def test_a_measurement_in_a_slow_state_goes_on_as_long_as_it_may_and_then_counts():
    machine = StandIn(slowness=lambda now: 1.8)
    rounds = taken(machine, [machine.copies(2.0)], machine.copies(0.5), seconds=0.5, fastest=0.5e-3)
    assert machine.time >= 0.5
    assert rounds.kept == rounds.taken
    assert not rounds.is_fast
    assert rounds.fastest == 0.5e-3
    assert ratio(rounds) == pytest.approx(4.0, rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(slope=st.floats(-0.5, 0.8), wave=st.floats(0, 0.3))
def test_a_trend_leaves_the_ratio(slope, wave):
    """The machine gets slower or faster all the time, with a wave in it of half a second."""
    machine = StandIn(slowness=lambda now: 1.0 + slope * now + wave * math.sin(4 * math.pi * now))
    rounds = taken(machine, [machine.copies(2.0, UNLIKE)], machine.copies(0.5))
    assert machine.time >= 1.0
    assert ratio(rounds) == pytest.approx(4.0, rel=0.01)


def test_the_precision_ends_the_rounds_or_else_the_seconds_do():
    spent, halves = [], []
    for precision in (0.5, 0.03, 0.002):
        draw = np.random.default_rng(3)
        machine = StandIn()

        def noisy(milliseconds, machine=machine, draw=draw):
            return machine.call(lambda now: milliseconds * float(np.exp(draw.normal(0, 0.1))))

        files, yardstick = [[noisy(2.0)] * 6], [noisy(2.0)] * 6
        rounds = taken(machine, files, yardstick, precision=precision)
        spent.append(machine.time)
        halves.append(interval(rounds.copies()[0])[1])
    assert spent[0] < 0.4, "three rounds of six copies"
    assert spent[0] < spent[1] < 0.95
    assert halves[1] <= math.log1p(0.03)
    assert 1.0 <= spent[2] < 1.2
    assert halves[2] > math.log1p(0.002)


def test_a_slow_net_ends_soon():
    machine = StandIn()
    rounds = taken(machine, [machine.copies(500.0, [0.0] * 3)], machine.copies(0.5, [0.0] * 3), precision=0.002)
    assert ratio(rounds) == pytest.approx(1000.0)
    assert len(rounds.taken) == 2 * 3, "each copy had two turns"
    assert machine.time < 3.2


def test_rounds_go_on_until_it_is_known_which_of_two_files_is_faster():
    """The ratio of either is known soon. Their difference is not, since the copies of one are slow together."""
    spent = {}
    for second in (2.0, 2.04, 3.0):
        machine = StandIn()
        files = [machine.copies(2.0, np.multiply(UNLIKE, 2 / 3)), machine.copies(second, np.multiply(UNLIKE, -2 / 3))]
        rounds = taken(machine, files, machine.copies(2.0), precision=0.03)
        assert all(interval(copies)[1] < math.log1p(0.03) for copies in rounds.copies())
        spent[second] = machine.time
    assert spent[2.0] >= 1.0
    assert spent[2.04] >= 1.0, "they may be one or the other"
    assert spent[3.0] < 0.6, "nobody doubts which of these is faster"


def test_one_copy_has_no_interval_and_takes_all_the_time():
    machine = StandIn()
    rounds = taken(machine, [machine.copies(2.0, [0.0])], machine.copies(1.0, [0.0]), seconds=0.3)
    assert interval(rounds.copies()[0]) == (pytest.approx(math.log(2)), math.inf)
    assert machine.time >= 0.3


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=16))
def test_the_interval_is_that_of_students_t(values):
    from scipy import stats

    middle, half = interval(np.array(values))
    assert middle == pytest.approx(np.mean(values), abs=1e-9)
    expected = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    assert half == pytest.approx(expected, abs=1e-9)


def test_the_system_has_such_a_clock():
    before = SYSTEM.now(), SYSTEM.processor(), SYSTEM.interruptions()
    sum(range(200_000))
    assert SYSTEM.now() > before[0]
    assert SYSTEM.processor() > before[1]
    assert SYSTEM.interruptions() >= before[2] >= 0


def test_several_threads_are_compared_by_the_time_from_outside():
    """Their times on the processor add up: 4 threads of 1 ms are no slower than a yardstick of 2 ms."""
    disturbed = [Round(copy, _block(0.002, 0.002), (_block(0.001, 0.004),)) for copy in range(3)]
    assert np.exp(Rounds(taken=disturbed, one_thread=False).copies()) == pytest.approx(0.5)
    assert np.exp(Rounds(taken=disturbed, one_thread=True).copies()) == pytest.approx(2.0)


def _block(seconds: float, processor: float) -> Block:
    return Block(np.array([seconds]), processor, disturbed=True)
