"""Channel pruning: remove the channels with the smallest weights, with all that hangs on them, and train on.

Paper: Li et al. 2017, arXiv 1608.08710; across dependent layers, Fang et al. 2023, arXiv 2301.12900; trained on
from the full learning rate, Renda et al. 2020, arXiv 2003.02389.
Use when: the net is wider than the task needs; the file and the latency shrink in any runtime.
Avoid when: the net is small already, or the latency lies in many small operations rather than in wide ones.
Cost: the epochs of fine-tuning; a gain when deployed.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tricksearch import Choice, Float, NotApplicable, Trick, Workbench

if TYPE_CHECKING:
    from torch import Tensor, nn

NORMS = {"l1": 1, "l2": 2}
MULTIPLE = 8  # widths that are no multiple of it lose speed in the runtimes


def kept_width(width: int, removed: int) -> int:
    """How many of `width` channels stay when `removed` were to go: the nearest multiple of 8, at least 8.

    >>> kept_width(64, 32), kept_width(24, 12), kept_width(32, 29), kept_width(6, 3)
    (32, 16, 8, 6)
    """
    nearest = (width - removed + MULTIPLE // 2) // MULTIPLE * MULTIPLE
    return min(max(nearest, MULTIPLE), width)


def classifier(net: nn.Module, num_classes: int) -> nn.Module:
    """The last layer with one output for each class, which must keep its width. Raises NotApplicable."""
    from torch import nn

    widths = {
        module: module.out_features if isinstance(module, nn.Linear) else module.out_channels
        for module in net.modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    heads = [module for module, width in widths.items() if width == num_classes]
    if not heads:
        raise NotApplicable(f"no linear or convolutional layer of the net has {num_classes} outputs, one a class")
    return heads[-1]


def prune(net: nn.Module, head: nn.Module, example: Tensor, ratio: float, *, norm: int, across: bool) -> int:
    """Remove about `ratio` of the channels, but none of `head`'s, in place; returns how many parameters went.

    A channel's importance is the `norm` (1 or 2) of its weights, averaged over the layers that depend on it.
    Each layer loses the ratio, or all layers compete `across` the net. `example` (N, C, H, W) is an input to
    trace the dependencies with.

    >>> import torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 10, 3))
    >>> prune(net, net[2], torch.zeros(1, 3, 8, 8), 0.5, norm=1, across=False)
    1888
    >>> net[0].out_channels, net[2].in_channels, net[2].out_channels
    (16, 16, 10)
    """
    import torch_pruning as tp

    before = sum(weight.numel() for weight in net.parameters())
    pruner = tp.pruner.BasePruner(
        net.eval(),
        example,
        importance=tp.importance.GroupMagnitudeImportance(p=norm),
        pruning_ratio=ratio,
        global_pruning=across,
        ignored_layers=[head],
    )
    in_groups = {**pruner.in_channel_groups, **pruner.out_channel_groups}
    doomed = []  # chosen for all layers before any of them changes
    for proposed in pruner.step(interactive=True):
        root, channels = proposed[0]
        layer, remove = root.target.module, root.handler
        if not any(item.dep.target.module in in_groups for item in proposed):  # those lose evenly as it is
            width = pruner.DG.get_out_channels(layer)
            whole = pruner.DG.get_pruning_group(layer, remove, list(range(width)))
            least_first = pruner.estimate_importance(whole).argsort().tolist()
            channels = least_first[: width - kept_width(width, len(channels))]
        doomed.append((layer, remove, channels))
    for layer, remove, channels in doomed:
        if channels:
            pruner.DG.get_pruning_group(layer, remove, channels).prune()
    return before - sum(weight.numel() for weight in net.parameters())


@dataclass(frozen=True)
class Pruning(Trick):
    """Prunes the trained net once, then fine-tunes it."""

    ratio: Annotated[float, Float(0.1, 0.8)] = 0.5  # share of the channels to remove
    importance: Annotated[str, Choice(*NORMS)] = "l1"  # norm of the weights that a channel is judged by
    scope: Annotated[str, Choice("local", "global")] = "local"  # each layer gives the share, or all together
    epochs: Annotated[float, Float(0.1, 1.0)] = 0.25  # fine-tuning, multiple of the study's epochs
    lr: Annotated[float, Float(0.05, 1.0, log=True)] = 1.0  # its first learning rate, multiple of the base

    def compress(self, net: nn.Module, bench: Workbench) -> nn.Module:
        """Prune a copy and fine-tune it. Raises NotApplicable where nothing can be removed."""
        import torch

        net = copy.deepcopy(net)
        example = torch.zeros(2, *bench.input_shape, device=next(net.parameters()).device)
        head = classifier(net, bench.num_classes)
        try:
            across, norm = self.scope == "global", NORMS[self.importance]
            removed = prune(net, head, example, self.ratio, norm=norm, across=across)
            with torch.no_grad():
                net(example)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # torch-pruning raises many kinds for a net that it cannot trace
            raise NotApplicable(f"torch-pruning cannot follow the channels of this net: {error}") from error
        if removed == 0:
            raise NotApplicable(f"no layer is wide enough to lose {self.ratio:.0%} in steps of {MULTIPLE}")
        return bench.fine_tune(net, max(1, round(self.epochs * bench.epochs)), self.lr)
