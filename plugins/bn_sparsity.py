"""Sparse BatchNorm scales: an L1 penalty on them pushes unneeded channels towards zero, for pruning to find.

Paper: Liu et al. 2017, network slimming, arXiv 1708.06519, equation 1.
Use when: the trained net will be pruned by its BatchNorm scales, most of all globally.
Avoid when: nothing is pruned afterwards, or each BatchNorm is followed by another norm that undoes its scale.
Cost: nothing to speak of in training; none when deployed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tricksearch import BuildOptimizer, Float, NotApplicable, Trick, Workbench

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


def add_penalty(scales: Sequence[Tensor], strength: float) -> None:
    """Add the gradient of `strength` x sum |scale|, which is `strength` x sign(scale), to each scale's own gradient.

    In place; scales (C,) without a gradient are not trained and stay as they are.

    >>> import torch
    >>> scale = torch.tensor([2.0, -0.5, 0.0], requires_grad=True)
    >>> scale.grad = torch.tensor([1.0, 1.0, 1.0])
    >>> add_penalty([scale], 0.25)
    >>> scale.grad
    tensor([1.2500, 0.7500, 1.0000])
    """
    import torch

    with torch.no_grad():
        for scale in scales:
            if scale.grad is not None:
                scale.grad.add_(scale.sign(), alpha=strength)


def scales_of(net: nn.Module) -> list[nn.Parameter]:
    """The scale (C,) of each BatchNorm of the net that has one."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return [norm.weight for norm in net.modules() if isinstance(norm, _BatchNorm) and norm.affine]


@dataclass(frozen=True)
class BnSparsity(Trick):
    """Adds the penalty in every optimizer step, in training and in fine-tuning."""

    strength: Annotated[float, Float(1e-5, 1e-3, log=True)] = 1e-4  # of the penalty, beside a mean loss

    def model(self, net: nn.Module, bench: Workbench) -> nn.Module:
        """Leave the net as it is. Raises NotApplicable where it has no BatchNorm with a scale."""
        # Said here, since a net that is fine-tuned may have lost its BatchNorms to the convolutions before them.
        if not scales_of(net):
            raise NotApplicable("the net has no BatchNorm with a scale")
        return net

    def optimizer(self, build: BuildOptimizer, bench: Workbench) -> BuildOptimizer:
        """Wrap what builds the optimizer."""

        def penalized(net: nn.Module) -> Optimizer:
            optimizer, scales = build(net), scales_of(net)
            # Before each step, so that the gradients have been unscaled where the precision is float16.
            optimizer.register_step_pre_hook(lambda *_: add_penalty(scales, self.strength))
            return optimizer

        return penalized
