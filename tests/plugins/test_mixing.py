"""Mixup and CutMix against timm and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tricksearch_plugins.cutmix import Box, CutMix, box_around, cutmix
from tricksearch_plugins.mixup import Mixup, mixup

from tricksearch import Batch


@pytest.fixture(scope="module")
def timm_mixup():
    from timm.data import mixup as module

    return module


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_mixup_is_that_of_timm(lam, timm_mixup, random_batch, monkeypatch):
    batch = random_batch()
    theirs = timm_mixup.Mixup(mixup_alpha=1.0, mode="batch", label_smoothing=0.0, num_classes=10)
    monkeypatch.setattr(theirs, "_params_per_batch", lambda: (lam, False))
    images, targets = theirs(batch.images.clone(), batch.targets.argmax(1))
    ours = mixup(batch, torch.arange(12).flip(0), lam)
    torch.testing.assert_close(ours.images, images)
    torch.testing.assert_close(ours.targets, targets)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.data())
def test_the_box_is_that_of_torchvision(height, width, lam, data):
    from torchvision.transforms.v2 import CutMix as Theirs

    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    theirs = Theirs(num_classes=2)
    with pytest.MonkeyPatch.context() as patch:
        draws = iter((torch.tensor([column]), torch.tensor([row])))
        patch.setattr(
            theirs, "_dist", type("Fixed", (), {"sample": lambda self, size: torch.tensor(lam, dtype=torch.float64)})()
        )
        patch.setattr(torch, "randint", lambda *args, **kwargs: next(draws))
        expected = theirs.make_params([torch.zeros(1, 3, height, width)])
    box = box_around(row, column, height, width, lam)
    assert (box.left, box.top, box.right, box.bottom) == expected["box"]
    batch = Batch(torch.zeros(2, 1, height, width), torch.eye(2))
    assert cutmix(batch, torch.tensor([1, 0]), box).targets[0, 0].item() == pytest.approx(
        expected["lam_adjusted"], abs=1e-6
    )


def test_an_even_box_is_that_of_timm(timm_mixup, monkeypatch):
    centres = iter((3, 20))
    monkeypatch.setattr(np.random, "randint", lambda *args, **kwargs: next(centres))
    top, bottom, left, right = timm_mixup.rand_bbox((1, 3, 32, 32), lam=0.75)
    assert box_around(3, 20, 32, 32, lam=0.75) == Box(top, bottom, left, right) == Box(0, 11, 12, 28)


def test_cutmix_pastes_the_partner_and_nothing_else(random_batch):
    batch = random_batch()
    partner = torch.arange(12).roll(1)
    mixed = cutmix(batch, partner, Box(top=2, bottom=10, left=4, right=16))
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[2:10, 4:16] = True
    assert torch.equal(mixed.images[..., inside], batch.images[partner][..., inside])
    assert torch.equal(mixed.images[..., ~inside], batch.images[..., ~inside])
    kept = 1 - 8 * 12 / 256
    torch.testing.assert_close(mixed.targets, kept * batch.targets + (1 - kept) * batch.targets[partner])


def untouched(batch):
    return batch


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0])
def test_the_share_of_mixup_follows_its_beta_distribution(alpha, make_bench):
    transform = Mixup(alpha=alpha).batch(untouched, make_bench())
    batch = Batch(torch.zeros(32, 1, 1, 1), torch.eye(32))
    # A row that is its own partner keeps its whole target; the others keep the share that was drawn.
    kept = np.array([transform(batch).targets.diagonal().min().item() for _ in range(2000)])
    assert kept.mean() == pytest.approx(0.5, abs=0.04)
    assert kept.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_cutmix_mixes_its_share_of_the_batches(p, make_bench):
    transform = CutMix(p=p).batch(untouched, make_bench())
    batch = Batch(torch.zeros(2, 1, 32, 32), torch.eye(2))
    assert np.mean([transform(batch) is not batch for _ in range(2000)]) == pytest.approx(p, abs=0.04)


@pytest.mark.parametrize("trick", [Mixup(), CutMix(p=1.0)])
def test_another_seed_mixes_otherwise(trick, make_bench, random_batch):
    first, second = (trick.batch(untouched, make_bench(seed=seed))(random_batch()).images for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("trick", [Mixup(), CutMix(p=1.0)])
def test_a_batch_of_one_stays_what_it_is(trick, bench, random_batch):
    batch = random_batch(count=1)
    transform = trick.batch(untouched, bench)
    for _ in range(5):
        torch.testing.assert_close(transform(batch).images, batch.images)
