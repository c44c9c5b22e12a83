"""Focal loss: weigh down the images that the net already classifies well.

Paper: Lin et al. 2017, arXiv 1708.02002, in its softmax form.
Use when: easy images, often of a frequent class, drown the hard ones.
Avoid when: labels are noisy, since a wrong label looks like a hard image.
Cost: next to nothing in training; nothing when deployed.

Of two classes, alpha weighs class 1, the paper's foreground, and 1 - alpha weighs class 0. For more classes
the paper defines no alpha, and none is applied: one factor for all would only scale the learning rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tricksearch import Batch, Float, Loss, Trick, Workbench

if TYPE_CHECKING:
    from torch import Tensor


def focal(logits: Tensor, targets: Tensor, gamma: float, alpha: float | None = None) -> Tensor:
    """The mean over N of sum_k w_k t_k (1 - p_k)^gamma (-log p_k), a scalar.

    `logits` and the class probabilities `targets` are (N, K), p = softmax(logits). The weights w are 1, or
    (1 - `alpha`, `alpha`) where K is 2 and `alpha` is given.

    >>> import torch
    >>> focal(torch.zeros(1, 4), torch.eye(4)[:1], gamma=2.0)  # (1 - 1/4)^2 log 4
    tensor(0.7798)
    """
    import torch

    log_p = torch.log_softmax(logits.float(), dim=1)
    # Where p rounds to 1, x ** gamma has an infinite slope for gamma < 1: the clamp cuts that gradient off.
    hardness = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).eps) ** gamma
    terms = -targets * hardness * log_p
    if alpha is not None and logits.shape[1] == 2:
        terms = terms * terms.new_tensor([1 - alpha, alpha])
    return terms.sum(dim=1).mean()


@dataclass(frozen=True)
class Focal(Trick):
    """Replaces the cross-entropy."""

    claims = "loss.base"

    gamma: Annotated[float, Float(0.5, 5.0)] = 2.0  # how much easy images are weighed down
    alpha: Annotated[float, Float(0.0, 1.0, search=False)] = 0.25  # weight of class 1 of two; else not applied

    def loss(self, loss: Loss, bench: Workbench) -> Loss:
        """Replace the loss."""

        def focused(logits: Tensor, batch: Batch) -> Tensor:
            return focal(logits, batch.targets, self.gamma, self.alpha)

        return focused
