"""A placebo: it puts the images of each batch into another random order.

Paper: none; the control arm of an experiment.
Use when: what calls something real is to be tested.
Avoid when: anything is to get better.
Cost: next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tricksearch import Batch, BatchTransform, Trick, Workbench


@dataclass(frozen=True)
class PlaceboShuffle(Trick):
    """The mean over a batch does not know the order of its images; only rounding does."""

    def batch(self, transform: BatchTransform, bench: Workbench) -> BatchTransform:
        """The transform's batch, permuted by a generator of its own."""
        source = bench.generator("placebo_shuffle")

        def shuffled(batch: Batch) -> Batch:
            made = transform(batch)
            order = torch.randperm(len(made.images), generator=source, device=made.images.device)
            return Batch(made.images[order], made.targets[order])

        return shuffled
