"""What longer training changes is told from the difference of two effects, not from two verdicts."""

import pytest

from benchmarks.arms import Budgets, budgets
from tests.believable import verdict
from tricksearch.search.phases.shifts import change_in_words, difference_looks, longer_minus_shorter
from tricksearch.verdicts.sequential import Looks
from tricksearch.verdicts.verdict import Estimate, Unknown


def test_effects_that_are_equal_at_both_budgets_are_not_said_to_change():
    # From two verdicts a change is claimed in some 80 % of such studies.
    ours, before = zip(*(budgets(Budgets(96, 0.2, 0.3), seed) for seed in range(60)), strict=True)
    assert sum(before) > 30
    assert sum(ours) <= 8, "true at 5 %: more than 8 of 60 once in 300 times"


def test_a_difference_has_the_error_of_both_screens():
    short = Estimate("a", 0.1, 0.3, 20.0, 12, 12)
    full = Estimate("a", 0.5, 0.4, 40.0, 24, 24)
    found = longer_minus_shorter(short, full)
    assert (found.effect, found.error) == pytest.approx((0.4, 0.5))
    assert found.freedom == pytest.approx(0.25**2 / (0.09**2 / 20 + 0.16**2 / 40))
    assert (found.on, found.off) == (36, 36)
    assert longer_minus_shorter(Unknown("a", "its runs failed"), full) == Unknown("a", "its runs failed")


def test_the_looks_at_a_difference_have_its_information():
    # With N runs at the short budget and s N at the full one its variance is (1 + 1 / s) / 2 of that at the end.
    assert difference_looks(Looks((0.5, 1.0))).fractions == pytest.approx((2 / 3, 1.0))
    assert difference_looks(None) is None


@pytest.mark.parametrize(
    ("short", "full", "change", "says"),
    [
        ({"says": "helps"}, {"says": "equivalent", "low": -0.1, "high": 0.1}, "undecided", "undecided"),
        ({"says": "helps"}, {"says": "equivalent", "low": -0.1, "high": 0.1}, "hurts", "effect fades"),
        ({"says": "equivalent", "low": -0.1, "high": 0.1}, {"says": "helps"}, "helps", "effect appears"),
        ({"says": "hurts", "low": -0.5, "high": -0.1}, {"says": "helps"}, "helps", "sign changes"),
        ({"says": "helps"}, {"says": "helps"}, "helps", "gains"),
        ({"says": "helps"}, {"says": "undecided", "low": -0.1, "high": 0.3}, "hurts", "loses"),
        ({"says": "helps"}, {"says": "helps"}, "equivalent", "same"),
    ],
)
def test_the_words_say_no_more_than_was_shown(short, full, change, says):
    assert change_in_words(verdict(**short), verdict(**full), verdict(says=change)) == says
