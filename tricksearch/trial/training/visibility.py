"""Which pixels of its images a net can see at all."""

from __future__ import annotations

import copy

import torch
from torch import nn


def unseen(net: nn.Module, input_shape: tuple[int, int, int]) -> tuple[int, int]:
    """How many whole rows and columns of images (C, H, W) cannot change the output of a net.

    Patches that do not fill an image leave such borders out. A single pixel may be dead by chance, in a ReLU; a whole
    row is not. The net is left as it is.
    """
    source = torch.Generator().manual_seed(0)
    net = copy.deepcopy(net).cpu().float().eval()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        for parameter in net.parameters():
            # What starts at zero, such as the last scale of a residual block, would hide whatever stands before it.
            parameter.data.add_(0.1 * torch.rand(parameter.shape, generator=source) - 0.05)
            parameter.requires_grad_(False)
        images = torch.rand((2, *input_shape), generator=source).requires_grad_()
        output = net(images)
        (output * torch.randn(output.shape, generator=source)).sum().backward()
    gradient = images.grad
    if gradient is None:
        return input_shape[1], input_shape[2]
    change = gradient.abs().nan_to_num(1.0, 1.0, 1.0).sum((0, 1))
    return int((change.sum(1) == 0).sum()), int((change.sum(0) == 0).sum())
