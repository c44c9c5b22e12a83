"""The model behind the default sampler, against what is known of Gaussian processes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tricksearch.search.samplers.gaussian_process import GaussianProcess

NOMINAL = np.array([True, True, False])


def points(n, seed):
    random = np.random.default_rng(seed)
    return np.column_stack([random.integers(-1, 3, n), random.integers(0, 2, n), random.random(n)]).astype(float)


@given(seed=st.integers(0, 2**32), n=st.integers(2, 40))
def test_it_is_sure_where_it_knows_and_never_surer_than_without(seed, n):
    known, asked = points(n, seed), points(20, seed + 1)
    values = np.random.default_rng(seed).normal(size=n)
    model = GaussianProcess(NOMINAL)
    model.condition(known, values)
    mean, spread = model.predict(asked)
    assert np.isfinite(mean).all()
    assert (spread > 0).all()
    _, sure = model.predict(known[:1])
    assert sure[0] <= spread.max() + 1e-9
    model.condition(known[:1], values[:1])
    far = model.predict(asked)[0]
    assert np.allclose(far, values[0]), "with one value known, that is the best guess everywhere"


def test_it_learns_which_parameters_matter_and_predicts_what_it_has_not_seen():
    known, asked = points(90, 0), points(300, 1)

    def truth(rows):
        return 2.0 * (rows[:, 0] == 1) + np.sin(3 * rows[:, 2])  # the second parameter does nothing

    model = GaussianProcess(NOMINAL)
    model.fit(known, truth(known))
    model.condition(known, truth(known))
    mean, spread = model.predict(asked)
    errors = mean - truth(asked)
    assert np.sqrt((errors**2).mean()) < 0.2 * truth(asked).std()
    assert np.mean(np.abs(errors) < 2 * spread) > 0.85
    other = asked.copy()
    other[:, 1] = 1 - other[:, 1]
    assert np.abs(model.predict(other)[0] - mean).max() < 0.3


def test_contradicting_values_of_one_point_are_averaged():
    known = np.zeros((4, 3))
    model = GaussianProcess(NOMINAL)
    model.fit(known, np.array([1.0, 2.0, 3.0, 4.0]))
    model.condition(known, np.array([1.0, 2.0, 3.0, 4.0]))
    assert model.predict(known[:1])[0] == pytest.approx(2.5)
