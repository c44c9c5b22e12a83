"""Designs: within their runs, balanced, orthogonal, and true to what they say of pairs and rivals."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tricksearch.verdicts.designs import choose


def singles(count):
    return [(f"trick_{number}",) for number in range(count)]


def coded(factors, runs):
    """The runs as -1 and 1, shape (n, tricks)."""
    return np.array([[1.0 if trick in run else -1.0 for factor in factors for trick in factor] for run in runs])


@settings(max_examples=60)
@given(
    tricks=st.integers(1, 20),
    runs=st.integers(4, 400),
    kind=st.sampled_from(["auto", "full", "plackett_burman"]),
    seed=st.integers(0, 2**31),
)
def test_every_block_is_balanced_and_orthogonal_and_the_runs_suffice(tricks, runs, kind, seed):
    factors = singles(tricks)
    try:
        design = choose(factors, runs, kind)
    except ValueError as refused:
        assert f"{runs} runs are too few" in str(refused)  # noqa: PT017 - which sizes fit is not this test's matter
        return
    assert sum(design.sizes) <= runs
    assert len(design.sizes) <= 10
    for number in {0, len(design.sizes) - 1}:
        block = design.block(number, seed)
        assert len(block) == design.sizes[number]
        levels = coded(factors, block)
        assert not levels.sum(axis=0).any()
        assert np.array_equal(levels.T @ levels, len(block) * np.eye(tricks))


@settings(max_examples=40)
@given(tricks=st.integers(3, 14), seed=st.integers(0, 2**31), size=st.floats(-5, 5), data=st.data())
def test_a_pair_leaves_every_main_effect_of_a_fold_over_as_it_is(tricks, seed, size, data):
    factors = singles(tricks)
    design = choose(factors, 60, "plackett_burman")
    first, second = data.draw(st.sampled_from(list(combinations(range(tricks), 2))))
    for number in range(len(design.sizes)):
        levels = coded(factors, design.block(number, seed))
        values = 70 + levels @ np.arange(tricks) / 2 + size * levels[:, first] * levels[:, second]
        effects = levels.T @ values * 2 / len(values)
        assert np.allclose(effects, np.arange(tricks))


@pytest.mark.parametrize("tricks", range(5, 12))
def test_a_resolution_v_fraction_tells_main_effects_and_pairs_apart(tricks):
    design = choose(singles(tricks), 128, "fractional")
    assert design.pairs
    levels = coded(singles(tricks), design.block(0, seed=3))
    pairs = [levels[:, one] * levels[:, two] for one, two in combinations(range(tricks), 2)]
    model = np.column_stack([np.ones(len(levels)), levels, *pairs])
    assert np.array_equal(model.T @ model, len(levels) * np.eye(model.shape[1]))


@pytest.mark.parametrize(
    ("tricks", "runs", "name", "pairs"),
    [
        (1, 10, "full factorial, 4 + 4 runs", True),
        (4, 48, "full factorial, 16 + 16 + 16 runs", True),
        (5, 48, "full factorial, 32 + 16 runs", True),
        (6, 48, "resolution V fraction, 32 + 16 runs", True),
        (10, 60, "Plackett-Burman folded over, 24 + 32 runs", False),
        (10, 48, "Plackett-Burman folded over, 24 + 24 runs", False),
        (10, 24, "Plackett-Burman folded over, 24 runs", False),
    ],
)
def test_the_design_fits_the_number_of_tricks_and_the_runs(tricks, runs, name, pairs):
    design = choose(singles(tricks), runs)
    assert (design.name, design.pairs) == (name, pairs)


@pytest.mark.parametrize(
    ("factors", "runs", "kind", "says"),
    [
        (singles(10), 23, "auto", "23 runs are too few for 10 tricks: a Plackett-Burman folded over needs at least 24"),
        (singles(10), 60, "full", "full factorial needs at least 1024 runs"),
        (singles(10), 60, "fractional", "resolution V fraction needs at least 128 runs"),
        (singles(12), 60, "fractional", "known for 5 to 11 columns"),
        (singles(2), 3, "auto", "full factorial needs at least 4 runs"),
        ([("a", "b"), ("b",)], 60, "auto", "'b' stands in the design twice"),
        ([], 60, "auto", "at least one trick"),
    ],
)
def test_a_design_that_cannot_be_says_what_could(factors, runs, kind, says):
    with pytest.raises(ValueError, match=says):
        choose(factors, runs, kind)


def test_the_fewest_runs_that_are_named_are_enough_and_one_less_is_not():
    for factors in (singles(1), singles(3), singles(7), singles(13), [("a", "b", "c"), ("d", "e"), ("f",)]):
        with pytest.raises(ValueError, match="too few") as refused:
            choose(factors, 1)
        fewest = int(str(refused.value).split("at least ")[1].split()[0])
        assert sum(choose(factors, fewest).sizes) == fewest
        with pytest.raises(ValueError, match="too few"):
            choose(factors, fewest - 1)


RIVALS = [("a", "b", "c"), ("d", "e"), ("f",), ("g",), ("h",)]


@pytest.mark.parametrize("seed", range(5))
def test_rivals_are_never_on_together_and_all_of_them_can_be_told_apart(seed):
    design = choose(RIVALS, 60)
    runs = [run for number in range(len(design.sizes)) for run in design.block(number, seed)]
    for run in runs:
        assert list(run) == sorted(run)
        assert all(len(set(factor) & set(run)) <= 1 for factor in RIVALS)
    counts = {trick: sum(trick in run for run in runs) for factor in RIVALS for trick in factor}
    assert [counts[trick] for trick in "abc"] == [len(runs) / 4] * 3
    assert [counts[trick] for trick in "de"] == [len(runs) / 4] * 2
    assert [counts[trick] for trick in "fgh"] == [len(runs) / 2] * 3
    model = np.column_stack([np.ones(len(runs)), coded(RIVALS, runs)])
    assert np.linalg.matrix_rank(model) == model.shape[1]


def test_a_decided_rival_leaves_its_runs_to_the_others_and_a_decided_single_trick_goes_on():
    design = choose(RIVALS, 60)
    size = design.sizes[-1]
    runs = design.block(len(design.sizes) - 1, 0, undecided=["a", "d", "e"])
    counts = {trick: sum(trick in run for run in runs) for factor in RIVALS for trick in factor}
    assert counts == {"a": size // 2, "b": 0, "c": 0, "d": size // 4, "e": size // 4} | dict.fromkeys("fgh", size // 2)


@settings(max_examples=150)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    runs=st.integers(16, 200),
    kind=st.sampled_from(["auto", "full", "fractional", "plackett_burman"]),
    data=st.data(),
)
def test_whatever_is_decided_the_next_block_can_be_laid_out_and_tells_the_others_apart(sizes, runs, kind, data):
    names = iter(f"trick_{number}" for number in range(sum(sizes)))
    factors = [tuple(next(names) for _ in range(size)) for size in sizes]
    try:
        design = choose(factors, runs, kind)
    except ValueError:
        return
    undecided = data.draw(st.sets(st.sampled_from([trick for factor in factors for trick in factor])))
    number = data.draw(st.integers(0, len(design.sizes) - 1))
    block = design.block(number, 7, undecided)
    assert len(block) == design.sizes[number]
    drawn = [tuple(trick for trick in factor if trick in undecided) or factor for factor in factors]
    model = np.column_stack([np.ones(len(block)), coded(drawn, block)])
    assert np.linalg.matrix_rank(model) == model.shape[1]


def test_blocks_differ_and_are_the_same_again_for_the_same_seed():
    design = choose(singles(10), 60)
    assert design.block(0, 1) == design.block(0, 1)
    assert design.block(0, 1) != design.block(0, 2)
    assert set(design.block(0, 1)) != set(design.block(1, 1)[:24])
    with pytest.raises(ValueError, match="no block 2"):
        design.block(2, 1)
