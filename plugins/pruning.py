"""Channel pruning: remove the least important channels, with the layers that depend on them, and train on.

Paper: Li et al. 2017, arXiv 1608.08710; dependent layers, Fang et al. 2023, 2301.12900; BatchNorm scales, Liu et al.
2017, 1708.06519; Taylor expansion, Molchanov et al. 2019, 1906.10771; the full rate after it, Renda et al. 2020,
2003.02389.
Use when: the net is wider than the task needs; the file and the latency shrink in any runtime.
Avoid when: the net is small already, or the latency lies in many small operations rather than in wide ones.
Cost: the epochs of fine-tuning; a gain when deployed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tricksearch import Choice, Float, Int, NotApplicable, Trick, Workbench

if TYPE_CHECKING:
    from torch import Tensor, nn

IMPORTANCES = ("l1", "l2", "bn_scale", "taylor")
MULTIPLE = 8  # widths that are no multiple of it lose speed in the runtimes
TAYLOR_IMAGES, TAYLOR_BATCH = 256, 64  # that the loss of a Taylor expansion is taken over

Importance = Callable[[Any], "Tensor | None"]  # a group of torch-pruning -> the score of each of its channels


def kept_width(width: int, removed: int) -> int:
    """How many of `width` channels stay when `removed` were to go: the nearest multiple of 8, at least 8.

    >>> kept_width(64, 32), kept_width(24, 12), kept_width(32, 29), kept_width(6, 3)
    (32, 16, 8, 6)
    """
    nearest = (width - removed + MULTIPLE // 2) // MULTIPLE * MULTIPLE
    return min(max(nearest, MULTIPLE), width)


def epochs_of_steps(epochs: int, steps: int) -> list[int]:
    """`epochs` shared out over the steps, one at least to each, the last ones getting what is left over.

    >>> epochs_of_steps(7, 3), epochs_of_steps(2, 3)
    ([2, 2, 3], [1, 1, 1])
    """
    epochs = max(epochs, steps)
    return [epochs * (step + 1) // steps - epochs * step // steps for step in range(steps)]


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


@dataclass(frozen=True)
class _Group:
    """Channels that go together: of one layer, and of all that depend on it."""

    root: str  # path of the layer
    prune: Callable[[list[int]], None]  # remove these channels
    scores: list[float]  # importance of each channel; with blocks, of the channels that stand alike in each
    blocks: int  # a grouped convolution and a group norm lose as much from each of their groups

    @property
    def fewest(self) -> int:
        """How many scores stay at least."""
        return 1 if self.blocks > 1 else min(MULTIPLE, len(self.scores))

    def kept(self, removed: int) -> int:
        """How many scores stay when `removed` of them were to go."""
        whole = len(self.scores)
        return max(whole - removed, 1) if self.blocks > 1 else kept_width(whole, removed)


def groups_of(net: nn.Module, head: nn.Module, example: Tensor, importance: Importance) -> list[_Group]:
    """The groups of the net that the importance can score, but for the one with `head`, in the order of the net."""
    import torch_pruning as tp
    from torch import nn

    graph = tp.DependencyGraph().build_dependency(net.eval(), example)
    path_of = {module: path for path, module in net.named_modules()}
    groups = []
    for group in graph.get_all_groups(ignored_layers=[head], root_module_types=[nn.Conv2d, nn.Linear]):
        scores = importance(group)
        if scores is None:
            continue
        layer, remove = group[0][0].target.module, group[0][0].handler
        blocks = max(_blocks(graph, dep.target.module, dep.handler) for dep, _ in group)

        def prune(channels: list[int], layer: nn.Module = layer, remove: Any = remove) -> None:
            graph.get_pruning_group(layer, remove, channels).prune()

        # The scores are relative to their mean, and that of a layer without any gradient is 0.
        alike = scores.nan_to_num().view(blocks, -1).mean(0).tolist()
        groups.append(_Group(path_of[layer], prune, alike, blocks))
    return groups


def _blocks(graph: Any, module: nn.Module, handler: Any) -> int:
    """The groups of a grouped convolution or a norm; 1 where each channel is free, as in a depthwise one."""
    pruner = graph.get_pruner_of_module(module)
    if pruner is None or getattr(module, "groups", 1) == getattr(module, "out_channels", 0):
        return 1
    if graph.is_out_channel_pruning_fn(handler):
        return int(pruner.get_out_channel_groups(module))
    return int(pruner.get_in_channel_groups(module))


def removals(groups: list[_Group], first: Mapping[str, int], ratio: float, across: bool) -> list[int]:
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
    groups = groups_of(net, head, example, importance)
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

        net = copy.deepcopy(net)
        example = torch.zeros(2, *bench.input_shape, device=next(net.parameters()).device)
        first: dict[str, int] = {}
        removed = owed = 0
        for step, epochs in enumerate(epochs_of_steps(round(self.epochs * bench.epochs), self.steps), start=1):
            try:
                gone = self._prune(net, example, self.ratio * step / self.steps, first, bench)
            except (MemoryError, torch.OutOfMemoryError, NotApplicable):
                raise
            except Exception as error:  # torch-pruning raises many kinds for a net that it cannot trace
                raise NotApplicable(f"torch-pruning cannot follow the channels of this net: {error}") from error
            removed, owed = removed + gone, owed + epochs
            # A small step may round to nothing; its epochs go to the next one.
            if gone or (removed and step == self.steps):
                net, owed = bench.fine_tune(net, owed, self.lr), 0
        if not removed:
            raise NotApplicable(f"no layer is wide enough to lose {self.ratio:.0%} in steps of {MULTIPLE}")
        return net

    def _prune(self, net: nn.Module, example: Tensor, ratio: float, first: dict[str, int], bench: Workbench) -> int:
        """Prune `net` up to `ratio` of the widths of `first`, which the first call fills in."""
        import torch

        importance, head = scorer(self.importance), classifier(net, bench.num_classes)
        if self.importance == "taylor":
            loss_gradients(net, bench)
        gone = prune(net, head, example, ratio, importance=importance, across=self.scope == "global", first=first)
        if not first:
            raise NotApplicable(f"the net has no channels that '{self.importance}' could judge")
        net.zero_grad()
        with torch.no_grad():
            net(example)
        return gone

    def foreseeable(self) -> bool:
        """Where all layers compete, the trained weights decide how many channels each of them loses."""
        return self.scope == "local"
