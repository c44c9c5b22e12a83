"""Focal loss: weigh down the images that the net already classifies well.

Paper: Lin et al. 2017, arXiv 1708.02002, in its softmax form.
Use when: easy images, often of a frequent class, drown the hard ones.
Avoid when: labels are noisy, since a wrong label looks like a hard image.
Cost: next to nothing in training; nothing when deployed.

Of two classes, alpha weighs class 1, the paper's foreground, and 1 - alpha class 0, both doubled so that they are 1 on
average: the loss keeps its scale. Which class comes first is a matter of its name, so that by default neither weighs
more. For more classes the paper defines no alpha: there it has to be left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tricksearch import Batch, Float, Loss, NotApplicable, Trick, Workbench

if TYPE_CHECKING:
    from torch import Tensor

ALIKE = 0.5  # the alpha with which two classes weigh the same


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
    alpha: Annotated[float, Float(0.0, 1.0, search=False)] = ALIKE  # of two classes, how much the second one weighs

    def loss(self, loss: Loss, bench: Workbench) -> Loss:
        """Replace the loss. Raises NotApplicable where alpha would weigh one of more than two classes."""
        if bench.num_classes != 2 and self.alpha != ALIKE:
            classes = bench.num_classes
            raise NotApplicable(f"alpha {self.alpha:g} weighs one class against another, and there are {classes}")

        def focused(logits: Tensor, batch: Batch) -> Tensor:
            if bench.num_classes != 2:
                return focal(logits, batch.targets, self.gamma)
            return 2 * focal(logits, batch.targets, self.gamma, self.alpha)

        return focused
