"""Chances of being on the front: what is told as sure is so."""

import numpy as np
import pytest

from benchmarks.chances import simulate
from tricksearch.verdicts.chances import SURE, Objective, chances


def accuracy(runs, margin=0.2):
    return Objective(dict(runs), list(runs), maximize=True, margin=margin)


def exact(values, margin=0.05):
    return Objective({name: [value] * 2 for name, value in values.items()}, list(values), maximize=False, margin=margin)


def test_what_is_told_as_sure_is_so():
    pairs = [pair for seed in range(60) for pair in simulate(seed, 3, 0.2)[0] if pair[0] >= SURE]
    assert len(pairs) > 100
    told, true = np.mean(pairs, axis=0)
    assert told - 0.1 <= true


def test_a_recipe_that_is_far_behind_is_not_on_the_front_and_one_without_a_rival_is():
    runs = {"ahead": [92.0, 92.1, 91.9], "behind": [90.0, 90.1, 89.9], "fast": [88.0, 88.1, 87.9]}
    assert chances([accuracy(runs), exact({"ahead": 1.0, "behind": 1.2, "fast": 0.5})]) == pytest.approx(
        [1, 0, 1], abs=0.01
    )


def test_what_is_equal_within_the_margins_stays():
    runs = {"one": [92.0, 92.02], "two": [92.01, 92.03]}
    assert chances([accuracy(runs, 1.0), exact({"one": 1.0, "two": 1.0})]) == pytest.approx([1, 1], abs=0.05)


def test_recipes_of_one_graph_share_its_latency():
    # Were each latency drawn for itself, the worse recipe would be the faster one in half of the draws, and stay.
    runs = {"better": [92.0, 92.1, 91.9], "worse": [90.0, 90.1, 89.9]}
    noisy = [0.0, 0.2, -0.2, 0.1, -0.1, 0.0]
    shared = Objective({"graph": noisy}, ["graph", "graph"], maximize=False, margin=0.05)
    assert chances([accuracy(runs), shared])[1] < 0.01
    apart = Objective({"a": noisy[:3], "b": noisy[3:]}, ["a", "b"], maximize=False, margin=0.05)
    assert 0.2 < chances([accuracy(runs), apart])[1] < 0.8


def test_a_recipe_without_a_run_is_refused():
    with pytest.raises(ValueError, match="needs a run"):
        chances([accuracy({"a": [1.0, 2.0], "b": []})])
