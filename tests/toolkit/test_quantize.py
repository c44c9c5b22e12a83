"""The measure by which a guard judges a layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tricksearch.toolkit.quantize import mean_kl


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(2, 8))
def test_it_is_torch_s_divergence(seed, count, classes):
    own = np.random.default_rng(seed)
    expected, got = (own.normal(size=(count, classes)).astype(np.float32) * 5 for _ in range(2))
    wanted, given_ = (torch.from_numpy(each).double().log_softmax(1) for each in (expected, got))
    divergence = torch.nn.functional.kl_div(given_, wanted, log_target=True, reduction="batchmean")
    assert mean_kl(expected, got) == pytest.approx(float(divergence), rel=1e-6, abs=1e-9)
    assert mean_kl(expected, expected) == 0


def test_logits_of_any_size_give_a_number():
    assert np.isfinite(mean_kl(np.array([[1e4, -1e4]]), np.array([[-1e4, 1e4]])))
