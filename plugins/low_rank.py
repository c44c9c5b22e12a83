"""Low-rank convolutions: write each trained convolution as two cheaper ones, and train on.

Paper: Jaderberg et al. 2014, arXiv 1405.3866 (k x 1 and 1 x k); Zhang et al. 2016, arXiv 1505.06798 (k x k and 1 x 1).
Use when: the net has wide, dense convolutions of 3 x 3 or more.
Avoid when: its convolutions are depthwise or grouped, or the latency lies in many small operations.
Cost: the epochs of fine-tuning; fewer multiplications when deployed, but twice as many layers.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tricksearch import Choice, Float, NotApplicable, Trick, Workbench

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMS = ("channel", "spatial")
MULTIPLE = 8  # widths that are no multiple of it lose speed in the runtimes


def split(weight: Tensor, rank: int, form: str) -> tuple[Tensor, Tensor]:
    """The two weights whose convolutions, one after the other, come closest to that of `weight` (O, I, h, w).

    channel: (rank, I, h, w), then (O, rank, 1, 1). spatial: (rank, I, h, 1), then (O, rank, 1, w). Closest in the
    sum of squares (Eckart and Young), and the same at full rank: min(O, I h w), or min(I h, O w).

    >>> import torch
    >>> weight = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    >>> first, second = split(weight, 4, "channel")
    >>> first.shape, second.shape
    (torch.Size([4, 2, 3, 3]), torch.Size([4, 4, 1, 1]))
    >>> torch.allclose(torch.einsum("rihw,orab->oihw", first, second), weight, atol=1e-6)
    True
    """
    import torch

    outputs, inputs, height, width = weight.shape
    exact = weight.detach().double()
    if form == "channel":
        matrix = exact.reshape(outputs, inputs * height * width).T
    else:
        matrix = exact.permute(1, 2, 0, 3).reshape(inputs * height, outputs * width)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    root = values[:rank].sqrt()  # half to each, so that weight decay pulls at both alike
    first, second = (left[:, :rank] * root).T, (right[:rank].T * root).T
    if form == "channel":
        shapes = (rank, inputs, height, width), (rank, outputs, 1, 1)
    else:
        shapes = (rank, inputs, height, 1), (rank, outputs, 1, width)
    return first.reshape(shapes[0]).to(weight), second.reshape(shapes[1]).transpose(0, 1).to(weight).contiguous()


def rank_of(conv: nn.Conv2d, share: float, form: str) -> int:
    """The channels between the two convolutions: `share` of the outputs, a multiple of 8; 0 where that saves nothing.

    >>> from torch import nn
    >>> [rank_of(nn.Conv2d(64, 64, 3), share, "channel") for share in (0.5, 0.05, 0.95)]
    [32, 8, 0]
    >>> rank_of(nn.Conv2d(3, 64, 3), 0.5, "channel"), rank_of(nn.Conv2d(64, 64, 3, groups=64), 0.5, "channel")
    (0, 0)
    """
    if conv.groups != 1 or isinstance(conv.padding, str) or conv.padding_mode != "zeros":
        return 0
    (height, width), inputs, outputs = conv.kernel_size, conv.in_channels, conv.out_channels
    if form == "spatial" and (height == 1 or width == 1):
        return 0
    full = min(outputs, inputs * height * width) if form == "channel" else min(inputs * height, outputs * width)
    rank = min(max(MULTIPLE, round(share * outputs / MULTIPLE) * MULTIPLE), full)
    # Multiplications for each place of the output; the first of a spatial pair does not step over columns.
    first = inputs * height * (width if form == "channel" else conv.stride[1])
    second = outputs * (1 if form == "channel" else width)
    return rank if rank * (first + second) < outputs * inputs * height * width else 0


def pair(conv: nn.Conv2d, rank: int, form: str) -> nn.Sequential:
    """Two convolutions in place of one: (N, I, H, W) -> (N, O, H', W'), as the one has it."""
    import torch
    from torch import nn
    from torch.nn.utils import skip_init  # a constructor draws from the global generator

    def part(weight: Tensor, bias: Tensor | None, rows: bool, columns: bool) -> nn.Module:
        """A convolution that strides, pads and dilates along the rows, the columns, or both."""
        part: nn.Conv2d = skip_init(  # type: ignore[no-untyped-call]
            nn.Conv2d,
            weight.shape[1],
            weight.shape[0],
            weight.shape[2:],
            stride=(conv.stride[0] if rows else 1, conv.stride[1] if columns else 1),
            padding=(int(conv.padding[0]) if rows else 0, int(conv.padding[1]) if columns else 0),
            dilation=(conv.dilation[0] if rows else 1, conv.dilation[1] if columns else 1),
            bias=bias is not None,
            device=weight.device,
            dtype=weight.dtype,
        )
        with torch.no_grad():
            part.weight.copy_(weight)
            if part.bias is not None and bias is not None:
                part.bias.copy_(bias)
        return part

    first, second = split(conv.weight, rank, form)
    if form == "channel":
        return nn.Sequential(part(first, None, True, True), part(second, conv.bias, False, False))
    return nn.Sequential(part(first, None, True, False), part(second, conv.bias, False, True))


def factorize(net: nn.Module, share: float, form: str) -> int:
    """Put a pair in place of each plain convolution where that saves multiplications; returns how many."""
    from torch import nn

    factorized = 0
    for path, module in list(net.named_modules()):
        # A subclass may pad or normalise its weight in a way of its own.
        rank = rank_of(module, share, form) if type(module) is nn.Conv2d else 0
        if rank:
            net.set_submodule(path, pair(module, rank, form).train(module.training))
            factorized += 1
    return factorized


@dataclass(frozen=True)
class LowRank(Trick):
    """Factorizes the trained net's convolutions by their singular values, then fine-tunes it."""

    claims = "compress.rank"
    after = ("compress.width",)

    form: Annotated[str, Choice(*FORMS)] = "channel"  # k x k and 1 x 1, or k x 1 and 1 x k
    rank: Annotated[float, Float(0.1, 0.9)] = 0.5  # channels between the two, share of the convolution's outputs
    epochs: Annotated[float, Float(0.1, 1.0)] = 0.25  # fine-tuning, multiple of the study's epochs
    lr: Annotated[float, Float(0.01, 1.0, log=True)] = 0.1  # its first learning rate, multiple of the base

    def compress(self, net: nn.Module, bench: Workbench) -> nn.Module:
        """Factorize a copy and fine-tune it. Raises NotApplicable where no convolution gets cheaper."""
        net = copy.deepcopy(net)
        if not factorize(net, self.rank, self.form):
            raise NotApplicable(
                f"no convolution gets cheaper as two with {self.rank:.0%} of its outputs between them"
                f" (form: {self.form}): they are narrow, or grouped"
            )
        return bench.fine_tune(net, max(1, round(self.epochs * bench.epochs)), self.lr)
