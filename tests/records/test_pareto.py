from __future__ import annotations

import itertools
import math
import time
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tricksearch.records.goals import Goals
from tricksearch.records.pareto import front, hypervolume, knee, membership
from tricksearch.records.recipe import Recipe

Points = list[tuple[float, ...]]


@st.composite
def _clouds(draw: st.DrawFn, dims: int | None = None) -> tuple[Points, list[bool]]:
    """Few distinct values, so that ties and duplicates are common."""
    d = dims or draw(st.integers(1, 4))
    value = st.integers(-4, 4).map(lambda i: i / 2) | st.floats(-5, 5)
    points = draw(st.lists(st.tuples(*[value] * d), max_size=25))
    return points, draw(st.lists(st.booleans(), min_size=d, max_size=d))


def _dominates(a: tuple[float, ...], b: tuple[float, ...], maximize: list[bool]) -> bool:
    better = [(x > y) if up else (x < y) for x, y, up in zip(a, b, maximize, strict=True)]
    equal = [x == y for x, y in zip(a, b, strict=True)]
    return any(better) and all(p or q for p, q in zip(better, equal, strict=True))


@given(_clouds())
def test_front_is_the_definition(cloud: tuple[Points, list[bool]]) -> None:
    points, maximize = cloud
    expected = [i for i, p in enumerate(points) if not any(_dominates(q, p, maximize) for q in points)]
    assert front(points, maximize) == expected


@given(_clouds(), st.randoms(use_true_random=False))
def test_front_does_not_depend_on_the_order(cloud: tuple[Points, list[bool]], random) -> None:
    points, maximize = cloud
    shuffled = random.sample(points, len(points))
    assert sorted(points[i] for i in front(points, maximize)) == sorted(shuffled[i] for i in front(shuffled, maximize))


def test_duplicates_of_a_member_are_all_kept() -> None:
    assert front([(1, 1), (0, 0), (1, 1), (-0.0, 2), (0.0, 2)], (True, True)) == [0, 2, 3, 4]


def test_infinite_values_are_ordered_like_others() -> None:
    assert front([(math.inf, 1), (5, 1), (5, -math.inf)], (True, False)) == [0, 2]


@pytest.mark.parametrize("call", [front, knee, lambda p, m: hypervolume(p, m, (0, 0))])
@pytest.mark.parametrize(
    ("points", "match"),
    [([(1.0, math.nan)], "NaN"), ([(1.0, 2.0), (1.0,)], "2 objectives"), ([(1, 2, 3)], "2")],
)
def test_what_is_no_point_is_refused(call, points, match) -> None:
    with pytest.raises(ValueError, match=match):
        call(points, (True, False))


@pytest.mark.parametrize("dims", [2, 3])
def test_ten_thousand_points_are_quick(dims: int) -> None:
    """A pairwise comparison in Python takes minutes; the limit is far from both."""
    points = np.random.default_rng(0).normal(size=(10_000, dims)).tolist()
    begin = time.process_time()
    assert front(points, [True] * dims)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(90.0, 0.1), (97.0, 0.2), (98.0, 0.9)], 1),  # a clear elbow
        ([(98.0, 0.9), (90.0, 0.1)], 0),  # only ends: the better first objective
        ([(90.0, 0.1), (91.0, 0.8), (98.0, 0.9)], 2),  # bulges away from the ideal: an end
        ([(90.0, 0.1), (80.0, 0.05), (70.0, 0.2), (97.0, 0.12)], 3),  # dominated points do not matter
        ([(97.0, 0.4)], 0),
        ([(97.0, 0.4), (97.0, 0.4)], 0),  # duplicates: the first
    ],
)
def test_knee_of_known_fronts(points: Points, expected: int) -> None:
    assert knee(points, (True, False)) == expected


def test_knee_of_three_objectives() -> None:
    points = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.6, 0.6, 0.6)]
    assert knee(points, (True, True, True)) == 3


@given(_clouds(dims=2))
def test_knee_is_farthest_from_the_line_between_the_ends(cloud: tuple[Points, list[bool]]) -> None:
    points, maximize = cloud
    if not points:
        with pytest.raises(ValueError, match="no points"):
            knee(points, maximize)
        return
    members = front(points, maximize)
    chosen = knee(points, maximize)
    assert chosen in members
    ends = [max(members, key=lambda i, j=j: points[i][j] * (1 if maximize[j] else -1)) for j in (0, 1)]
    if points[ends[0]] == points[ends[1]]:
        return
    (ax, ay), (bx, by) = points[ends[0]], points[ends[1]]
    wx, wy = abs(bx - ax), abs(by - ay)

    def above(i: int) -> float:
        """Signed distance from the line between the ends, in scaled units, positive towards the ideal."""
        x, y = (points[i][0] - ax) / wx, (points[i][1] - ay) / wy
        return (x if maximize[0] else -x) + (y if maximize[1] else -y)

    assert above(chosen) >= max(above(i) for i in members) - 1e-9


def test_knee_needs_finite_points() -> None:
    with pytest.raises(ValueError, match="finite"):
        knee([(math.inf, 0.0)], (True, True))


@given(
    st.lists(st.tuples(st.integers(-3, 9), st.integers(-3, 9)), max_size=12),
    st.tuples(st.booleans(), st.booleans()),
)
def test_hypervolume_counts_the_dominated_unit_squares(
    points: list[tuple[int, int]], maximize: tuple[bool, bool]
) -> None:
    reference = [3, 5]
    signs = [1 if up else -1 for up in maximize]
    squares = {
        (x, y)
        for px, py in points
        for x in range((px - reference[0]) * signs[0])
        for y in range((py - reference[1]) * signs[1])
    }
    assert Fraction(hypervolume(points, maximize, reference)) == len(squares)


@given(st.data(), st.integers(1, 4))
def test_hypervolume_counts_the_unit_cubes_of_any_number_of_objectives(data: st.DataObject, dims: int) -> None:
    points = data.draw(st.lists(st.tuples(*[st.integers(0, 4)] * dims), max_size=8))
    cubes = {cube for point in points for cube in itertools.product(*(range(each, 4) for each in point))}
    assert hypervolume(points, [False] * dims, [4] * dims) == len(cubes)


@given(_clouds(2))
def test_without_an_error_membership_is_the_front(cloud: tuple[Points, list[bool]]) -> None:
    points, maximize = cloud
    shares = membership(points, [(0.0, 0.0)] * len(points), maximize, draws=3)
    assert shares == [float(at in front(points, maximize)) for at in range(len(points))]


def test_a_point_that_may_be_better_is_on_the_front_now_and_then() -> None:
    means, errors = [(90.0, 1.0), (89.9, 1.0), (80.0, 1.0), (70.0, 0.5)], [(0.2, 0.0)] * 4
    best, rival, worse, fast = membership(means, errors, (True, False), draws=4000)
    assert best + rival == pytest.approx(1.0)
    assert rival == pytest.approx(NormalDist().cdf(-0.1 / (0.2 * 2**0.5)), abs=0.03)
    assert (worse, fast) == (0.0, 1.0)


def test_a_negative_error_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        membership([(1.0, 2.0)], [(0.1, -0.1)], (True, False))


def test_useless_recipes_do_not_move_the_knee(make_record):
    def records(*points):
        return [
            make_record(
                at, Recipe(tricks={"any": {"n": at}} if at else {}), *point, phase="search" if at else "baseline"
            )
            for at, point in enumerate(points)
        ]

    goals = Goals(("accuracy", "latency_ms"))
    sound = [(96.0, 1.0), (96.3, 0.8), (95.0, 0.7), (97.0, 1.6)]
    useless = [(12.0, 0.1), (11.0, 0.05), (97.1, 60.0)]
    knee_of = goals.knee(records(*sound)).id
    assert knee_of == "1"
    assert goals.knee(records(*sound, *useless)).id == knee_of
    without = [record for record in records(*sound, *useless) if record.phase != "baseline"]
    assert goals.knee(without).id == knee_of, "by the median, where no baseline finished"
    assert goals.knee(records((90.0, 1.0), (10.0, 0.5))).id == "0"
    only = [record for record in records(*useless) if record.tricks]
    assert goals.knee(only) is not None
