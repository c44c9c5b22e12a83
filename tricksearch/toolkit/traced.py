"""A net as a graph of its modules: what follows what, and BatchNorms folded into the convolutions before them."""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tricksearch.contract import NotApplicable


class _Tracer(fx.Tracer):
    """Looks into containers only: a module without children may do what cannot be traced, and need not be."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is one node of the graph."""
        childless = next(m.children(), None) is None
        return childless or isinstance(m, _BatchNorm) or super().is_leaf_module(m, module_qualified_name)


def trace(net: nn.Module) -> fx.Graph:
    """The graph of a net in evaluation mode. Raises NotApplicable for one whose path depends on its input."""
    try:
        return _Tracer().trace(net)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # what the net's own Python makes of a symbol in place of a tensor
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise NotApplicable(f"the net cannot be traced: {type(error).__name__}: {reason}") from error


def fold_batch_norms(net: nn.Module) -> nn.Module:
    """A copy, in evaluation mode, whose BatchNorms are part of the convolutions that alone feed them.

    It computes the same. Where one was, an identity stays, or timm's dropout and activation that came with it.
    Raises NotApplicable where the net cannot be traced.
    """
    net = copy.deepcopy(net).eval()
    graph = trace(net)
    modules = dict(net.named_modules())
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        norm = modules[str(node.target)] if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or calls[node.target] > 1:
            continue
        parts = dict(norm.named_children())  # timm's kind brings its dropout and its activation along
        with_act = {"drop", "act"} <= set(parts)
        before = node.args[0]
        conv = modules[str(before.target)] if isinstance(before, fx.Node) and before.op == "call_module" else None
        if not isinstance(conv, nn.Conv2d) or len(before.users) > 1 or calls[before.target] > 1:
            continue
        if with_act or type(norm) is nn.BatchNorm2d:
            rest = nn.Sequential(parts["drop"], parts["act"]) if with_act else nn.Identity()
            fused = fuse_conv_bn_eval(conv, norm)
            fused.requires_grad_(conv.weight.requires_grad)  # where the convolution had no bias, the new one is frozen
            net.set_submodule(before.target, fused)
            net.set_submodule(node.target, rest.eval())
    return net
