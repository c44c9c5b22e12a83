from __future__ import annotations

import itertools

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.samplers import p_values
from benchmarks.support.peers import PlainLocalSearch, Uniform
from benchmarks.support.shares import Costs, Indices, OptunaSearch, run_search
from benchmarks.support.tables import Parameter, Table

SIZES = (3, 4, 2)
COSTS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=int(np.prod(SIZES)), max_size=int(np.prod(SIZES))
)


def table(costs: list[tuple[int, int]]) -> Table:
    parameters = tuple(Parameter(f"p{place}", size, place == 1) for place, size in enumerate(SIZES))
    return Table("made up", parameters, np.array(costs, dtype=float), (10.0, 10.0))


class Grid:
    """Every configuration once, in an order of its own."""

    def __init__(self, seed: int) -> None:
        self._left = list(itertools.product(*map(range, SIZES)))
        np.random.default_rng(seed).shuffle(self._left)

    def ask(self) -> Indices:
        return tuple(int(index) for index in self._left.pop())

    def tell(self, costs: Costs) -> None:
        pass


@given(COSTS, st.integers(0, 99))
@settings(max_examples=50)
def test_a_search_that_sees_everything_finds_the_whole_hypervolume(costs: list[tuple[int, int]], seed: int) -> None:
    made = table(costs)
    shares = run_search(Grid(seed), made, len(costs)).shares
    assert shares[-1] == pytest.approx(1.0)
    assert all(after >= before for before, after in itertools.pairwise(shares))


def test_the_share_is_that_of_what_was_evaluated() -> None:
    # Bounded by (10, 10), (5, 5) dominates 25 and (2, 8) and (8, 2) 6 more each.
    costs = [(9, 9)] * 21 + [(8, 2), (5, 5), (2, 8)]
    assert table(costs).volume == 37
    assert table(costs).at((2, 2, 1)) == (8, 2)  # C order: the last index changes first
    grid = Grid(0)
    grid._left = [(0, 0, 0), (2, 3, 1), (2, 3, 0), (2, 3, 0)]
    assert run_search(grid, table(costs), 4).shares == pytest.approx([25 / 37, 25 / 37, 31 / 37, 31 / 37], abs=1e-9)


def test_an_optuna_sampler_is_told_the_costs_of_what_it_asked_for() -> None:
    made = table([(place % 7, place % 5) for place in range(24)])
    search = OptunaSearch(made, optuna.samplers.TPESampler(seed=0))
    run_search(search, made, 20)
    for trial in search.study.trials:
        indices = [int(trial.params[each.name]) for each in made.parameters]
        assert tuple(trial.values) == made.at(indices)
    assert len({tuple(trial.params.values()) for trial in search.study.trials}) > 5


def test_local_search_beats_random_draws_where_neighbours_are_alike() -> None:
    sizes = (8,) * 4
    parameters = tuple(Parameter(f"p{place}", size, False) for place, size in enumerate(sizes))
    rows = np.array(list(np.ndindex(*sizes)), dtype=float)
    smooth = Table("smooth", parameters, np.column_stack([rows.sum(1), (7 - rows[:, :2]).sum(1)]), (30.0, 16.0))

    def mean(kind: type[Uniform]) -> float:
        return float(np.mean([run_search(kind(smooth, seed), smooth, 60).shares[-1] for seed in range(10)]))

    assert mean(PlainLocalSearch) > mean(Uniform)


def test_p_values_are_holms() -> None:
    rng = np.random.default_rng(0)
    ours = rng.normal(size=20)
    shares = {
        "auto": {100: ours},
        "clear": {100: ours - 1 - 0.01 * rng.random(20)},
        "noise": {100: rng.normal(size=20)},
        "same": {100: ours.copy()},
    }
    p = p_values(shares, [100])
    assert p["clear", 100] == pytest.approx(3 * 2 * 0.5**20)  # every rank has one sign; the smallest of three
    assert p["noise", 100] > 0.05
    assert p["same", 100] == 1.0
