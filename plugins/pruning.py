"""Channel pruning: remove the least important channels, with the layers that depend on them, and train on.

Paper: Li et al. 2017, arXiv 1608.08710; dependent layers, Fang et al. 2023, 2301.12900; BatchNorm scales, Liu et al.
2017, 1708.06519; Taylor expansion, Molchanov et al. 2019, 1906.10771; the full rate after it, Renda et al. 2020,
2003.02389.
Use when: the net is wider than the task needs; the file and the latency shrink in any runtime.
Avoid when: the net is small already, or the latency lies in many small operations rather than in wide ones. Of a
transformer, the widths of its MLPs go, and its attention stays.
Cost: the epochs of fine-tuning; a gain when deployed.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tricksearch import Choice, Float, Int, NotApplicable, Trick, Workbench
from tricksearch.toolkit.channels import (
    MULTIPLE,
    Group,
    Importance,
    Kind,
    breaking_kinds,
    classifier,
    groups_of,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

IMPORTANCES = ("l1", "l2", "bn_scale", "taylor")
TAYLOR_IMAGES, TAYLOR_BATCH = 256, 64  # that the loss of a Taylor expansion is taken over


def epochs_of_steps(epochs: int, steps: int) -> list[int]:
    """`epochs` shared out over the steps, one at least to each, the last ones getting what is left over.

    >>> epochs_of_steps(7, 3), epochs_of_steps(2, 3)
    ([2, 2, 3], [1, 1, 1])
    """
    epochs = max(epochs, steps)
    return [epochs * (step + 1) // steps - epochs * step // steps for step in range(steps)]


def removals(groups: list[Group], first: Mapping[str, int], ratio: float, across: bool) -> list[int]:
    """How many scores each group is to lose, so that `ratio` of the widths that the groups had at `first` are gone."""
    if not across:
        return [len(group.scores) - int(first[group.root] * (1 - ratio)) for group in groups]
    left = sum(len(group.scores) for group in groups) - int(sum(first[group.root] for group in groups) * (1 - ratio))
    counts = [0] * len(groups)
    weakest_first = sorted((score, index) for index, group in enumerate(groups) for score in group.scores)
    for _, index in weakest_first:
        # The last channels of a layer stay, however weak: others go in their place.
        if left > 0 and counts[index] < len(groups[index].scores) - groups[index].fewest:
            counts[index] += 1
            left -= 1
    return counts


def prune(
    net: nn.Module,
    head: nn.Module,
    example: Tensor,
    ratio: float,
    *,
    importance: Importance,
    across: bool = False,
    without: Collection[Kind] = (),
    first: dict[str, int] | None = None,
) -> int:
    """Remove about `ratio` of the channels, but none of `head`'s, in place; returns how many parameters went.

    Each layer loses the ratio, or all layers compete `across` the net; a layer keeps a multiple of 8, and 8 at least.
    `example` (N, C, H, W) is an input to trace the dependencies with. `first` holds the widths that the ratio is of,
    where the net is pruned in several steps: the first one fills it in.

    >>> import torch, torch_pruning
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 10, 3))
    >>> l1 = torch_pruning.importance.GroupMagnitudeImportance(p=1)
    >>> prune(net, net[2], torch.zeros(1, 3, 8, 8), 0.5, importance=l1)
    1888
    >>> net[0].out_channels, net[2].in_channels, net[2].out_channels
    (16, 16, 10)
    """
    before = sum(weight.numel() for weight in net.parameters())
    groups = groups_of(net, head, example, importance, without)
    first = {} if first is None else first
    if not first:
        first.update({group.root: len(group.scores) for group in groups})
    counts = removals(groups, first, ratio, across)  # for all layers before any of them changes
    for group, removed in zip(groups, counts, strict=True):
        size = len(group.scores)
        least_first = sorted(range(size), key=group.scores.__getitem__)
        doomed = least_first[: max(size - group.kept(removed), 0)]
        if doomed:
            group.prune([block * size + channel for block in range(group.blocks) for channel in doomed])
    return before - sum(weight.numel() for weight in net.parameters())


def scorer(kind: str) -> Importance:
    """torch-pruning's importance: the norm of the weights of a channel, averaged over the layers that depend on it,
    of the BatchNorm scales alone, or of the weights times their gradients."""
    from torch_pruning import importance

    score: Importance = {
        "l1": lambda: importance.GroupMagnitudeImportance(p=1),
        "l2": lambda: importance.GroupMagnitudeImportance(p=2),
        "bn_scale": importance.BNScaleImportance,
        "taylor": importance.GroupTaylorImportance,
    }[kind]()
    return score


def loss_gradients(net: nn.Module, bench: Workbench) -> None:
    """Leave in the weights the gradient of the cross-entropy, summed over batches of training images."""
    import torch

    images = bench.train_images()
    order = torch.randperm(len(images), generator=bench.generator("pruning"), device=bench.device)[:TAYLOR_IMAGES]
    net.eval().zero_grad()
    for index in torch.split(order, TAYLOR_BATCH):
        pixels = images.pixels[index].to(bench.device).float() / 255
        loss = torch.nn.functional.cross_entropy(net(pixels), images.labels[index].to(bench.device))
        loss.backward()  # type: ignore[no-untyped-call]
    for weight in net.parameters():
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)


class _LostError(NotApplicable):
    """Torch-pruning cannot follow the channels."""


@contextlib.contextmanager
def _followed() -> Iterator[None]:
    """Raise _LostError for the many kinds of errors that torch-pruning and a pruned net's own code raise."""
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, NotApplicable):
        raise
    except Exception as error:
        raise _LostError(f"torch-pruning cannot follow the channels of this net: {error}") from error


@dataclass(frozen=True)
class Pruning(Trick):
    """Prunes the trained net in one step or several, and fine-tunes it after each."""

    claims = "compress.width"

    ratio: Annotated[float, Float(0.1, 0.8)] = 0.5  # share of the channels to remove
    importance: Annotated[str, Choice(*IMPORTANCES)] = "l1"  # what a channel is judged by
    scope: Annotated[str, Choice("local", "global")] = "local"  # each layer gives the share, or all together
    steps: Annotated[int, Int(1, 4)] = 1  # the share grows evenly from step to step
    epochs: Annotated[float, Float(0.1, 1.0)] = 0.25  # fine-tuning in all, multiple of the study's epochs
    lr: Annotated[float, Float(0.05, 1.0, log=True)] = 1.0  # its first learning rate, multiple of the base

    def compress(self, net: nn.Module, bench: Workbench) -> nn.Module:
        """Prune a copy and fine-tune it, a step at a time. Raises NotApplicable where nothing can be removed."""
        import torch

        whole, net = net, copy.deepcopy(net)
        without: set[Kind] = set()
        example = torch.zeros(2, *bench.input_shape, device=next(net.parameters()).device)
        first: dict[str, int] = {}
        removed = owed = 0
        for step, epochs in enumerate(epochs_of_steps(round(self.epochs * bench.epochs), self.steps), start=1):
            share = self.ratio * step / self.steps
            try:
                with _followed():
                    gone = self._prune(net, example, share, first, bench, without)
            except _LostError:
                if removed:
                    raise
                with _followed():
                    without = breaking_kinds(whole, bench.num_classes, example, scorer("l1"))
                    net, first = copy.deepcopy(whole), {}
                    gone = self._prune(net, example, share, first, bench, without)
            removed, owed = removed + gone, owed + epochs
            # A small step may round to nothing; its epochs go to the next one.
            if gone or (removed and step == self.steps):
                net, owed = bench.fine_tune(net, owed, self.lr), 0
        if not removed:
            raise NotApplicable(f"no layer is wide enough to lose {self.ratio:.0%} in steps of {MULTIPLE}")
        return net

    def _prune(
        self,
        net: nn.Module,
        example: Tensor,
        ratio: float,
        first: dict[str, int],
        bench: Workbench,
        without: Collection[Kind],
    ) -> int:
        """Prune `net` up to `ratio` of the widths of `first`, which the first call fills in."""
        import torch

        importance, head = scorer(self.importance), classifier(net, bench.num_classes)
        if self.importance == "taylor":
            loss_gradients(net, bench)
        across = self.scope == "global"
        gone = prune(net, head, example, ratio, importance=importance, across=across, without=without, first=first)
        if not first:
            left = ", but for those by whose widths its own code reshapes" if without else ""
            raise NotApplicable(f"the net has no channels that '{self.importance}' could judge{left}")
        net.zero_grad()
        with torch.no_grad():
            net(example)
        return gone

    def foreseeable(self) -> bool:
        """Where all layers compete, the trained weights decide how many channels each of them loses."""
        return self.scope == "local"
