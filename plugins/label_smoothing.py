"""Label smoothing: take a little of the target's mass and give it to the other classes.

Paper: Szegedy et al. 2016, arXiv 1512.00567, section 7.
Use when: labels are noisy or the net is over-confident.
Avoid when: the net will be a teacher (Müller et al. 2019), or its probabilities are read as they are.
Cost: next to nothing in training; nothing when deployed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from tricksearch import Batch, Choice, Float, Loss, Trick, Workbench

if TYPE_CHECKING:
    from torch import Tensor


def smooth(targets: Tensor, epsilon: float, form: str = "all") -> Tensor:
    """Move `epsilon` of each row's mass: to all K classes evenly, or to the K - 1 others.

    `targets` (N, K) are class probabilities, soft ones too; the rows of the result sum to 1 as well.

    >>> import torch
    >>> smooth(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), 0.2)
    tensor([[0.8500, 0.0500, 0.0500, 0.0500]])
    >>> smooth(torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0]]), 0.2, "others")
    tensor([[0.8000, 0.0500, 0.0500, 0.0500, 0.0500]])
    """
    classes = targets.shape[1]
    if form == "others":
        return (1 - epsilon) * targets + epsilon * (1 - targets) / (classes - 1)
    return (1 - epsilon) * targets + epsilon / classes


@dataclass(frozen=True)
class LabelSmoothing(Trick):
    """Smooths the targets that the wrapped loss is given."""

    claims = "loss.targets"
    after = ("loss.base",)

    epsilon: Annotated[float, Float(0.0, 0.3)] = 0.1  # mass moved, share of 1
    form: Annotated[str, Choice("all", "others", search=False)] = "all"  # who receives it; "all" is the paper's

    def loss(self, loss: Loss, bench: Workbench) -> Loss:
        """Wrap the loss."""

        def smoothed(logits: Tensor, batch: Batch) -> Tensor:
            return loss(logits, replace(batch, targets=smooth(batch.targets, self.epsilon, self.form)))

        return smoothed
