"""CutMix: paste a box of another image into each one, and share the label by area.

Paper: Yun et al. 2019, arXiv 1905.04899.
Use when: the net fits its training images much better than new ones, and the training is long.
Avoid when: what decides the class is small and may be pasted over, or the training is short.
Cost: a few per cent of a training step; nothing when deployed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

from tricksearch import Batch, BatchTransform, Float, Trick, Workbench

if TYPE_CHECKING:
    from torch import Tensor


class Box(NamedTuple):
    """A box in pixels; bottom and right are one past the last row and column."""

    top: int
    bottom: int
    left: int
    right: int


def box_around(row: int, column: int, height: int, width: int, lam: float) -> Box:
    """The box of 1 - `lam` of a (height, width) image's area around a pixel, cut off at the borders.

    >>> box_around(row=16, column=2, height=32, width=32, lam=0.75)
    Box(top=8, bottom=24, left=0, right=10)
    """
    share = (1 - lam) ** 0.5
    half_height, half_width = int(height * share) // 2, int(width * share) // 2
    return Box(
        max(row - half_height, 0),
        min(row + half_height, height),
        max(column - half_width, 0),
        min(column + half_width, width),
    )


def cutmix(batch: Batch, partner: Tensor, box: Box) -> Batch:
    """Fill the box of each image with its partner's pixels, and share the targets by the box's exact area.

    Images are (N, C, H, W), targets (N, K), and `partner` (N,) holds row numbers.

    >>> import torch
    >>> pair = Batch(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 2, 4), torch.eye(2))
    >>> mixed = cutmix(pair, torch.tensor([1, 0]), Box(top=0, bottom=2, left=3, right=4))
    >>> mixed.images[0, 0], mixed.targets[0]
    (tensor([[0., 0., 0., 1.],
            [0., 0., 0., 1.]]), tensor([0.7500, 0.2500]))
    """
    height, width = batch.images.shape[-2:]
    top, bottom, left, right = box
    images = batch.images.clone()
    images[..., top:bottom, left:right] = batch.images[partner, :, top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return Batch(images, batch.targets[partner].lerp(batch.targets, kept))


@dataclass(frozen=True)
class CutMix(Trick):
    """Mixes each training batch with a shuffled copy of itself, after whatever else is done to it."""

    claims = "batch.mix"

    alpha: Annotated[float, Float(0.1, 1.0)] = 1.0  # both parameters of the Beta distribution of the area kept
    p: Annotated[float, Float(0.1, 1.0)] = 0.5  # share of the batches that are mixed; the paper's for CIFAR

    def batch(self, transform: BatchTransform, bench: Workbench) -> BatchTransform:
        """Wrap the transform; one box for each batch."""
        import numpy as np
        import torch

        # NumPy draws from a Beta distribution from a given generator, which torch does not.
        random = np.random.default_rng(bench.generator("cutmix").initial_seed())

        def mixed(batch: Batch) -> Batch:
            batch = transform(batch)
            if random.random() >= self.p:
                return batch
            count, _, height, width = batch.images.shape
            partner = torch.from_numpy(random.permutation(count)).to(batch.images.device)
            row, column = int(random.integers(height)), int(random.integers(width))
            return cutmix(batch, partner, box_around(row, column, height, width, random.beta(self.alpha, self.alpha)))

        return mixed
