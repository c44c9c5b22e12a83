"""Mixup: train on blends of two images and of their labels.

Paper: Zhang et al. 2018, arXiv 1710.09412.
Use when: the net fits its training images much better than new ones, and the training is long.
Avoid when: the training is short or the net too small to fit its training images.
Cost: a few per cent of a training step; nothing when deployed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tricksearch import Batch, BatchTransform, Float, Trick, Workbench

if TYPE_CHECKING:
    from torch import Tensor


def mixup(batch: Batch, partner: Tensor, lam: float) -> Batch:
    """Blend `lam` of each image and target with 1 - `lam` of its partner's.

    Images are (N, C, H, W), targets (N, K), `partner` (N,) holds row numbers, and `lam` is in [0, 1].

    >>> import torch
    >>> pair = Batch(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.eye(2))
    >>> mixed = mixup(pair, torch.tensor([1, 0]), 0.75)
    >>> mixed.images.flatten(), mixed.targets
    (tensor([0.2500, 0.7500]), tensor([[0.7500, 0.2500],
            [0.2500, 0.7500]]))
    """
    return Batch(
        batch.images[partner].lerp(batch.images, lam),
        batch.targets[partner].lerp(batch.targets, lam),
    )


@dataclass(frozen=True)
class Mixup(Trick):
    """Mixes each training batch with a shuffled copy of itself, after whatever else is done to it."""

    claims = "batch.mix"

    alpha: Annotated[float, Float(0.1, 1.0)] = 0.4  # both parameters of the Beta distribution of the blend

    def batch(self, transform: BatchTransform, bench: Workbench) -> BatchTransform:
        """Wrap the transform; one blend for each batch."""
        import numpy as np
        import torch

        # NumPy draws from a Beta distribution from a given generator, which torch does not.
        random = np.random.default_rng(bench.generator("mixup").initial_seed())

        def mixed(batch: Batch) -> Batch:
            batch = transform(batch)
            partner = torch.from_numpy(random.permutation(len(batch.images))).to(batch.images.device)
            return mixup(batch, partner, random.beta(self.alpha, self.alpha))

        return mixed
