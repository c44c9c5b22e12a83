"""Cosine annealing and OneCycle against torch's schedulers, step by step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, SequentialLR
from tricksearch_plugins.cosine import Cosine, cosine
from tricksearch_plugins.onecycle import OneCycle, onecycle


def sgd(lr: float) -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, momentum=0.9)


def rates_of(scheduler, steps):
    """The (lr, momentum) of each step."""
    group = scheduler.optimizer.param_groups[0]
    seen = []
    for _ in range(steps):
        seen.append((group["lr"], group["momentum"]))
        scheduler.optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("final", [0.0, 0.05, 0.1])
def test_cosine_is_that_of_torch(final, bench):
    theirs = rates_of(CosineAnnealingLR(sgd(0.2), T_max=100, eta_min=0.2 * final), 100)
    schedule = Cosine(final=final).schedule(None, bench)
    assert [0.2 * schedule(step / 100).lr for step in range(100)] == pytest.approx([lr for lr, _ in theirs])
    assert schedule(0.5).momentum is None


def test_cosine_with_a_rise_is_that_of_torch():
    optimizer = sgd(1.0)
    rise = LinearLR(optimizer, start_factor=1e-12, end_factor=1.0, total_iters=20)
    theirs = rates_of(SequentialLR(optimizer, [rise, CosineAnnealingLR(optimizer, T_max=80)], milestones=[20]), 100)
    assert [cosine(step / 100, warmup=0.2) for step in range(100)] == pytest.approx([lr for lr, _ in theirs], abs=1e-9)


@given(st.floats(0, 0.999), st.floats(0, 0.1), st.floats(0, 0.2))
def test_cosine_stays_between_0_and_1_and_ends_at_final(progress, final, warmup):
    assert 0 <= cosine(progress, final, warmup) <= 1 + 1e-12
    assert cosine(1 - 1e-9, final, warmup) == pytest.approx(final, abs=1e-6)


@pytest.mark.parametrize(("peak", "rise"), [(1.0, 0.1), (3.0, 0.3), (10.0, 0.5)])
def test_onecycle_is_that_of_torch(peak, rise):
    steps, base = 1000, 0.1
    scheduler = OneCycleLR(
        sgd(base), max_lr=base * peak, total_steps=steps, pct_start=rise, base_momentum=0.85, max_momentum=0.95
    )
    theirs = rates_of(scheduler, steps - 1)
    top = rise * steps - 1  # torch puts the peak on this step and the end on the last one
    for step, (lr, momentum) in enumerate(theirs):
        progress = rise * step / top if step <= top else rise + (1 - rise) * (step - top) / (steps - 1 - top)
        ours = onecycle(progress, peak, rise, low=0.85, high=0.95)
        assert base * ours.lr == pytest.approx(lr, rel=1e-6)
        assert ours.momentum == pytest.approx(momentum, rel=1e-6)


def test_onecycle_starts_peaks_and_ends_where_it_should(bench):
    schedule = OneCycle(peak=5.0, rise=0.25, momentum_low=0.8, momentum_high=0.9).schedule(None, bench)
    assert tuple(schedule(0.0)) == pytest.approx((5.0 / 25, 0.9))
    assert tuple(schedule(0.25)) == pytest.approx((5.0, 0.8))
    assert tuple(schedule(1 - 1e-12)) == pytest.approx((5.0 / 250_000, 0.9))
