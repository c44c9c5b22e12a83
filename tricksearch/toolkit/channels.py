"""A net's channels in the groups that go together, as torch_pruning follows them, and which groups may lose some."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tricksearch.contract import NotApplicable

if TYPE_CHECKING:
    from torch import Tensor, nn

MULTIPLE = 8  # widths that are no multiple of it lose speed in the runtimes

Kind = tuple[str, ...]
Importance = Callable[[Any], "Tensor | None"]  # a group of torch_pruning -> the score of each of its channels


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


@dataclass(frozen=True)
class Group:
    """Channels that go together: of one layer, and of all that depend on it."""

    root: str  # path of the layer
    prune: Callable[[list[int]], None]  # remove these channels
    scores: list[float]  # importance of each channel; with blocks, of the channels that stand alike in each
    blocks: int  # a grouped convolution and a group norm lose as much from each of their groups
    kind: Kind  # of the layers, by which groups are alike

    @property
    def fewest(self) -> int:
        """How many scores stay at least."""
        return 1 if self.blocks > 1 else min(MULTIPLE, len(self.scores))

    def kept(self, removed: int) -> int:
        """How many scores stay when `removed` of them were to go."""
        whole = len(self.scores)
        return max(whole - removed, 1) if self.blocks > 1 else kept_width(whole, removed)


def groups_of(
    net: nn.Module, head: nn.Module, example: Tensor, importance: Importance, without: Collection[Kind] = ()
) -> list[Group]:
    """The groups of the net that the importance can score, but for that with `head` and those of the kinds `without`.

    They come in the order of the net.
    """
    import torch_pruning as tp
    from torch import nn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # on parameters of the net that belong to no layer
        graph = tp.DependencyGraph().build_dependency(net.eval(), example)
    path_of = {module: path for path, module in net.named_modules()}
    groups = []
    for group in graph.get_all_groups(ignored_layers=[head], root_module_types=[nn.Conv2d, nn.Linear]):
        kind = tuple(type(dep.target.module).__name__ for dep, _ in group)
        scores = None if kind in without else importance(group)
        if scores is None:
            continue
        layer, remove = group[0][0].target.module, group[0][0].handler
        blocks = max(_blocks(graph, dep.target.module, dep.handler) for dep, _ in group)

        def prune(channels: list[int], layer: nn.Module = layer, remove: Any = remove) -> None:
            graph.get_pruning_group(layer, remove, channels).prune()

        # The scores are relative to their mean, and that of a layer without any gradient is 0.
        alike = scores.nan_to_num().view(blocks, -1).mean(0).tolist()
        groups.append(Group(path_of[layer], prune, alike, blocks, kind))
    return groups


def _blocks(graph: Any, module: nn.Module, handler: Any) -> int:
    """The groups of a grouped convolution or a norm; 1 where each channel is free, as in a depthwise one."""
    pruner = graph.get_pruner_of_module(module)
    if pruner is None or getattr(module, "groups", 1) == getattr(module, "out_channels", 0):
        return 1
    if graph.is_out_channel_pruning_fn(handler):
        return int(pruner.get_out_channel_groups(module))
    return int(pruner.get_in_channel_groups(module))


def breaking_kinds(net: nn.Module, num_classes: int, example: Tensor, importance: Importance) -> set[Kind]:
    """The kinds of groups without whose channels the net no longer runs: attention's heads, and what is split.

    torch_pruning follows layers, and not the numbers that a net's own code reshapes by. Groups of one kind stand or
    fall together.
    """
    import torch

    broken: set[Kind] = set()
    while True:
        probe = copy.deepcopy(net)
        for group in groups_of(probe, classifier(probe, num_classes), example, importance, broken):
            size = len(group.scores)
            try:
                if doomed := range(max(size - group.kept(size // 2), 0)):
                    group.prune([block * size + channel for block in range(group.blocks) for channel in doomed])
                    with torch.no_grad():
                        probe(example)
            except (MemoryError, torch.OutOfMemoryError):
                raise
            except Exception:  # whatever the net's code makes of a width that it does not expect
                broken.add(group.kind)
                break
        else:
            return broken
