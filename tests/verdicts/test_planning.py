"""Plans: the textbook's figures, and the power that simulated studies have."""

import math

import numpy as np
import pytest
from scipy import stats

from tricksearch.verdicts.designs import choose
from tricksearch.verdicts.effects import main_effects
from tricksearch.verdicts.planning import least_power, one_at_a_time, planned_power, runs_needed


def test_plans_have_the_textbooks_figures():
    # To see 0.2 points at sd 0.235 with 80 % power at 5 % for each trick alone: 22 runs an arm, 11 arms.
    alone = 1 - 10 * 0.05
    assert one_at_a_time(0.235, 0.2, 10, alone) == 242
    assert 44 <= runs_needed(0.235, 0.2, 10, alone) <= 46
    needed = runs_needed(0.235, 0.2, 10)
    assert planned_power(needed, 0.235, 0.2, 10) >= 0.8 > planned_power(needed - 1, 0.235, 0.2, 10)
    assert planned_power(11, 0.235, 0.2, 10) == 0.0
    with pytest.raises(ValueError, match="above 0"):
        runs_needed(0.0, 0.2, 10)


def test_the_planned_power_is_that_of_simulated_tests():
    rng = np.random.default_rng(0)
    effects = 0.2 + 2 * 0.235 / math.sqrt(56) * rng.standard_normal(20_000)
    errors = 2 * 0.235 / math.sqrt(56) * np.sqrt(rng.chisquare(45, 20_000) / 45)
    share = (effects / errors > stats.t.ppf(1 - 0.0025, 45)).mean()
    assert planned_power(56, 0.235, 0.2, 10) == pytest.approx(share, abs=0.015)


@pytest.mark.parametrize(
    "factors", [[("a",), ("b",), ("c",)], [("a", "b", "c"), ("d", "e"), ("f",)]], ids=["single", "rivals"]
)
def test_the_least_power_is_that_of_the_worst_trick_of_simulated_screens(factors):
    tricks = [trick for factor in factors for trick in factor]
    design = choose(factors, 48)
    runs = [run for number in range(len(design.sizes)) for run in design.block(number, 0)]
    rng = np.random.default_rng(1)
    seen = dict.fromkeys(tricks, 0)
    for _ in range(400):
        values = [0.3 * len(run) + 0.25 * rng.standard_normal() for run in runs]
        for each in main_effects(runs, values, factors):
            seen[each.name] += each.effect / each.error > stats.t.ppf(1 - 0.025 / len(tricks), each.freedom)
    assert least_power(design, 0.25, 0.3) == pytest.approx(min(seen.values()) / 400, abs=0.08)


def test_orthogonal_tricks_all_have_the_planned_power_and_rivals_less():
    singles, rivals = [(f"t{at}",) for at in range(10)], [("t0", "t1", "t2"), *((f"t{at}",) for at in range(3, 10))]
    powers = [least_power(choose(each, 56), 0.235, 0.2) for each in (singles, rivals)]
    assert powers[0] == pytest.approx(planned_power(56, 0.235, 0.2, 10))
    assert powers[1] < 0.75 * powers[0]
