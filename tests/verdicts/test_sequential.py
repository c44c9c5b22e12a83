"""Looks: the published boundaries, the error rate over all looks, and the way back from a p-value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tricksearch.verdicts.sequential import Looks, boundaries


def test_the_boundaries_are_those_that_are_published():
    # Lan & DeMets 1983, O'Brien-Fleming spending, two-sided 5 %, five equal looks; as in Reboussin et al. 2000.
    limits = [stats.norm.isf(p[0] / 2) for p in boundaries(np.array([0.05]), (0.2, 0.4, 0.6, 0.8, 1.0))]
    assert limits == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=1e-3)


@pytest.mark.parametrize("fractions", [(0.4, 1.0), (0.3, 0.5, 1.0)])
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_the_looks_together_spend_the_level(fractions, level):
    edges = np.array([stats.norm.isf(p[0] / 2) for p in boundaries(np.array([level]), fractions)])
    shares = np.array(fractions)
    covariance = np.sqrt(np.minimum.outer(shares, shares) / np.maximum.outer(shares, shares))
    inside = stats.multivariate_normal(cov=covariance).cdf(edges, lower_limit=-edges, rng=np.random.default_rng(0))
    assert 1 - inside == pytest.approx(level, abs=2e-5)


@given(level=st.floats(1e-9, 0.9), looks=st.sampled_from([(0.43,), (0.43, 1.0), (0.1, 0.2, 0.7), (1.0,)]))
def test_a_level_and_its_nominal_p_value_lead_to_each_other(level, looks):
    look = Looks(looks)
    assert look.level(look.nominal(level)) == pytest.approx(level, rel=1e-6)
    assert look.nominal(level) <= level * 1.0001
    if level <= 0.2:
        assert look.nominal(level) == pytest.approx(boundaries(np.array([level]), looks)[-1][0], rel=3e-3)


def test_one_look_is_the_plain_level():
    assert Looks().nominal(0.05) == 0.05
    assert boundaries(np.array([0.05]), (1.0,))[0] == pytest.approx([0.05])


@pytest.mark.parametrize("fractions", [(), (0.5, 0.5), (0.0, 1.0), (0.5, 1.2)])
def test_shares_that_do_not_rise_are_refused(fractions):
    with pytest.raises(ValueError, match="rising shares"):
        Looks(fractions)
