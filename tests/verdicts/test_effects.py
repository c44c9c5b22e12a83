"""Effects: as statsmodels has them, over the plain t test where that is exact, and a sentence where there is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tricksearch.verdicts.designs import choose
from tricksearch.verdicts.effects import main_effects, pair_effects
from tricksearch.verdicts.means import mean_of_runs
from tricksearch.verdicts.verdict import Estimate, Unknown

FACTORS = [("a",), ("b",), ("c", "d")]


def random_runs(count, seed):
    rng = np.random.default_rng(seed)
    rivals = [set(), {"c"}, {"d"}]
    runs = [{trick for trick in "ab" if rng.random() < 0.5} | rivals[rng.integers(3)] for _ in range(count)]
    return runs, (70 + rng.standard_normal(count) * (1 + np.array(["a" in run for run in runs]))).tolist()


def test_estimates_and_errors_are_those_of_statsmodels():
    from statsmodels.regression.linear_model import OLS

    runs, values = random_runs(37, seed=1)
    fitted = OLS(values, [[1.0] + [trick in run for trick in "abcd"] for run in runs]).fit(cov_type="HC2")
    found = main_effects(runs, values, FACTORS)
    assert [each.name for each in found] == list("abcd")
    assert [each.effect for each in found] == pytest.approx(fitted.params[1:])
    assert [each.error for each in found] == pytest.approx(fitted.bse[1:])
    assert {each.on + each.off + each.others for each in found} == {37}
    assert [each.others for each in found] == [0, 0, *(sum(rival in run for run in runs) for rival in "dc")]


@settings(max_examples=30)
@given(on=st.integers(2, 12), off=st.integers(2, 12), seed=st.integers(0, 1000))
def test_one_trick_alone_has_the_error_of_welch(on, off, seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([3 * rng.standard_normal(on) + 1, rng.standard_normal(off)])
    (found,) = main_effects([{"a"}] * on + [set()] * off, values, [("a",)])
    assert (found.on, found.off) == (on, off)
    # Bell & McCaffrey 2002: Welch's formula for equal variances.
    shares = np.array([1 / on, 1 / off])
    assert found.freedom == pytest.approx(shares.sum() ** 2 / (shares**2 / [on - 1, off - 1]).sum())
    scipy = stats.ttest_ind(values[:on], values[on:], equal_var=False)
    assert found.effect / found.error == pytest.approx(scipy.statistic)


def test_the_interval_covers_though_a_trick_that_is_seldom_on_is_noisier():
    # Where variances differ and arms are uneven, the pooled variance of plain least squares covers far too little.
    rng = np.random.default_rng(0)
    runs = [{"a"} if number < 8 else set() for number in range(40)]
    runs = [run | ({"b"} if number % 2 else set()) for number, run in enumerate(runs)]
    sd = np.where([("a" in run) for run in runs], 3.0, 0.5)
    covered = 0
    for _ in range(1000):
        found = main_effects(runs, sd * rng.standard_normal(40), [("a",), ("b",)])[0]
        covered += abs(found.effect) <= found.error * stats.t.ppf(0.975, found.freedom)
    assert 0.93 <= covered / 1000 <= 0.985


def test_rivals_are_compared_with_the_runs_in_which_their_factor_is_off():
    runs, values = random_runs(60, seed=2)
    found = {each.name: each for each in main_effects(runs, values, FACTORS)}
    assert found["c"].on == sum("c" in run for run in runs)
    assert found["c"].off == found["d"].off == sum(not run & {"c", "d"} for run in runs)
    assert found["a"].off == sum("a" not in run for run in runs)


@pytest.mark.parametrize(
    ("runs", "values", "trick", "says"),
    [
        (["a", "a", "", ""], [1, 2, 3, 4], "b", "no run with b has a result"),
        (["b", "ab", "b", "ab"], [1, 2, 3, 4], "b", "no run without b"),
        (["ab", "ab", "", "", ""], [1, 2, 3, 5, 4], "a", "cannot be told from b"),
        (["", "a", "b"], [1, 2, 4], "a", "3 runs cannot tell 2 effects from noise: at least 4"),
        (["", "a", "b", "ab", ""], [7.5] * 5, "b", "all 5 runs gave the same value"),
        (["", "a", "b", "ab", "", "a"], [1, 2, 4, 5, 1, 2], "a", "no noise is left"),
        (["", "", "", "a", "b", "b"], [1, 2, 4, 5, 1, 2.5], "a", "rests on a single run"),
    ],
)
def test_an_effect_that_cannot_be_estimated_says_why(runs, values, trick, says):
    found = {each.name: each for each in main_effects([set(run) for run in runs], values, [("a",), ("b",)])}
    assert isinstance(found[trick], Unknown)
    assert says in found[trick].why


def test_what_one_trick_lacks_the_others_keep():
    runs = [set(run) for run in ("", "", "", "a", "b", "b")]
    found = {each.name: each for each in main_effects(runs, [1, 2, 4, 5, 1, 2.5], [("a",), ("b",)])}
    assert isinstance(found["b"], Estimate)
    error = (np.var([1, 2.5], ddof=1) / 2 + np.var([1, 2, 4], ddof=1) / 3) ** 0.5
    assert (found["b"].effect, found["b"].error) == pytest.approx((1.75 - 7 / 3, error))


def test_a_planted_pair_is_found_where_the_design_carries_it():
    factors = [("a",), ("b",), ("c",), ("d",)]
    design = choose(factors, 48)
    runs = [run for number in range(3) for run in design.block(number, 0)]
    rng = np.random.default_rng(0)
    values = [
        70 + ("a" in run) + 0.8 * ("a" in run and "b" in run) + 0.05 * noise
        for run, noise in zip(runs, rng.standard_normal(48), strict=True)
    ]
    found = {each.name: each for each in pair_effects(runs, values, factors)}
    assert list(found) == ["a + b", "a + c", "a + d", "b + c", "b + d", "c + d"]
    assert found["a + b"].effect == pytest.approx(0.8, abs=0.12)
    assert found["a + b"].error == pytest.approx(4 * 0.05 / np.sqrt(48), rel=0.4)
    assert found["a + b"].on == 12
    assert all(abs(each.effect) < 4 * each.error for name, each in found.items() if name != "a + b")


def test_pairs_of_a_fold_over_that_are_aliased_are_unknown():
    factors = [(f"t{number}",) for number in range(8)]
    design = choose(factors, 16, "plackett_burman")
    runs = design.block(0, 0) + design.block(0, 1)
    found = pair_effects(runs, np.random.default_rng(0).standard_normal(32), factors)
    assert len(found) == 28
    assert any(isinstance(each, Unknown) for each in found)
    rivals = pair_effects([{"a"}, {"b"}, set()] * 3, np.random.default_rng(0).standard_normal(9), [("a", "b")])
    assert rivals == []


def test_values_that_were_not_measured_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        main_effects([{"a"}, set()], [1.0, float("nan")], [("a",)])
    with pytest.raises(ValueError, match="2 runs and 1 values"):
        main_effects([{"a"}, set()], [1.0], [("a",)])


def test_a_mean_has_students_interval_or_none():
    values = [97.0, 98.5, 96.0, 97.25]
    found = mean_of_runs(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.value, found.low, found.high, found.n) == pytest.approx((np.mean(values), low, high, 4))
    assert mean_of_runs([97.0]).low is None
    assert mean_of_runs([97.0, 97.0]).high is None
    with pytest.raises(ValueError, match="no runs"):
        mean_of_runs([])


def test_interactions_of_crossed_tricks_are_no_noise_and_leave_the_effects_what_they_are():
    factors = [("a",), ("b",), ("c",), *((f"other_{number}",) for number in range(7))]
    design = choose(factors, 24)
    rng = np.random.default_rng(3)
    covered = 0
    for seed in range(200):
        runs = design.block(0, seed)
        on = np.array([[trick in run for (trick,) in factors] for run in runs], dtype=float)
        values = on[:, 0] - 2 * on[:, 1] + 3 * on[:, 0] * on[:, 1] * on[:, 2] + 0.01 * rng.standard_normal(len(runs))
        plain = {each.name: each for each in main_effects(runs, values, factors)}
        richer = {each.name: each for each in main_effects(runs, values, factors, crossed=("a", "b", "c"))}
        assert richer["c"].error < plain["c"].error / 20
        estimate = richer["c"]  # 3 where both others are on, which is a quarter of the time
        half = stats.t.ppf(0.975, estimate.freedom) * estimate.error
        covered += abs(estimate.effect - 0.75) <= half
    assert 180 <= covered <= 199
