from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tricksearch.verdicts.intervals import wilson


@st.composite
def _counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 100_000))
    return draw(st.integers(0, n)), n


@given(_counts(), st.floats(0.5, 0.999))
def test_it_is_scipys_interval(counts: tuple[int, int], confidence: float) -> None:
    successes, n = counts
    theirs = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson(successes, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(_counts())
def test_it_holds_the_share_and_stays_in_range(counts: tuple[int, int]) -> None:
    low, high = wilson(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1


@pytest.mark.parametrize("bad", [(1, 0, 0.95), (-1, 10, 0.95), (11, 10, 0.95), (5, 10, 0.0), (5, 10, 1.0)])
def test_what_cannot_be_is_refused(bad: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        wilson(*bad)
