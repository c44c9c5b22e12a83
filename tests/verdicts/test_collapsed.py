"""Runs that lie far off, where a measure takes few values."""

from tricksearch.verdicts.collapsed import residuals_of_arms, shortfalls


def test_a_collapse_is_named_where_most_runs_are_equal():
    arms = [[90.0, 90.0, 90.5, 90.0, 70.0], *([90.0, 90.0, 90.5, 90.0, 90.0] for _ in range(6))]
    far = shortfalls(*residuals_of_arms(arms))
    assert sorted(far[far > 0]) == [20.0]
