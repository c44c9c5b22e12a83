"""Squeeze-and-excitation: let each residual block weigh its channels by what the whole image shows.

Paper: Hu et al. 2018, arXiv 1709.01507.
Use when: a residual net has room for a little more latency.
Avoid when: the blocks are narrow and the latency is what counts: many small operations are slow.
Cost: a few per cent more training time, 1 to 25 % more parameters; some latency when deployed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tricksearch import Choice, NotApplicable, Trick, Workbench

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

SHORTCUTS = ("downsample", "shortcut", "conv_shortcut", "skip")  # how residual blocks name their side branch


def squeeze_excitation(channels: int, reduction: int, generator: torch.Generator) -> nn.Module:
    """A module that scales each channel of (N, C, H, W) by a number in (0, 1) computed from the means of all.

    The hidden layer has C / `reduction` channels, at least 4; the weights come from `generator`, and lie on
    its device.

    >>> import torch
    >>> module = squeeze_excitation(64, 16, torch.Generator().manual_seed(0))
    >>> module(torch.ones(2, 64, 8, 8)).shape, module.fc1.out_channels
    (torch.Size([2, 64, 8, 8]), 4)
    """
    import torch
    from torch import nn
    from torchvision.ops import SqueezeExcitation

    with torch.random.fork_rng(devices=[]):  # its constructor draws from the global generator
        module: nn.Module = SqueezeExcitation(channels, max(channels // reduction, 4))
    for weight in module.to(generator.device).parameters():
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(weight)
    return module


def open_slots(net: nn.Module) -> list[tuple[nn.Module, str]]:
    """Put an identity wherever squeeze-and-excitation belongs; returns each one's parent and name.

    That is a block's empty slot `se`, as in timm's nets, or else the end of a residual branch: behind the
    last convolution or norm of a block that has a shortcut and two convolutions or more.
    """
    from torch import nn

    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d)
    slots: list[tuple[nn.Module, str]] = []
    for block in list(net.modules()):
        if hasattr(block, "se"):
            if block.se is None or isinstance(block.se, nn.Identity):
                block.se = nn.Identity()
                slots.append((block, "se"))
        elif any(hasattr(block, name) for name in SHORTCUTS):
            branch = {name: child for name, child in block.named_children() if name not in SHORTCUTS}
            convolutions = [name for name, child in branch.items() if isinstance(child, nn.Conv2d)]
            if len(convolutions) >= 2:
                last = [name for name, child in branch.items() if isinstance(child, kinds)][-1]
                end = nn.Sequential(branch[last], nn.Identity())
                setattr(block, last, end)
                slots.append((end, "1"))
    return slots


def widths_at(net: nn.Module, slots: list[tuple[nn.Module, str]], example: Tensor) -> list[int]:
    """The channels that reach each slot when `example` (N, C, H, W) goes through the net; 0 where none do."""
    import torch

    widths = [0] * len(slots)

    def note(index: int, seen: Tensor) -> None:
        widths[index] = seen.shape[1] if seen.ndim == 4 else 0

    watches = [
        getattr(parent, name).register_forward_pre_hook(lambda _, seen, index=index: note(index, seen[0]))
        for index, (parent, name) in enumerate(slots)
    ]
    was_training = net.training
    with torch.no_grad():
        net.eval()(example)
    net.train(was_training)
    for watch in watches:
        watch.remove()
    return widths


@dataclass(frozen=True)
class SqueezeAndExcitation(Trick):
    """Puts the module into every residual block that has none."""

    reduction: Annotated[int, Choice(4, 8, 16, 32)] = 16  # channels of a block for each of the hidden layer

    def model(self, net: nn.Module, bench: Workbench) -> nn.Module:
        """Change the net, in place. Raises NotApplicable where no block takes the module."""
        import torch

        slots = open_slots(net)
        device = next(net.parameters()).device
        widths = widths_at(net, slots, torch.zeros(1, *bench.input_shape, device=device))
        if not any(widths):
            raise NotApplicable(
                "no residual block of the net lacks squeeze-and-excitation: none has an empty slot `se`, or"
                " a shortcut beside two convolutions"
            )
        generator = bench.generator("se")
        for (parent, name), channels in zip(slots, widths, strict=True):
            if channels:
                setattr(parent, name, squeeze_excitation(channels, self.reduction, generator).to(device))
        return net
