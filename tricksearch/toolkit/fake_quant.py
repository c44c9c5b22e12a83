"""A float net that rounds its weights and activations as a quantized file of it would, and can be trained so.

Where it rounds is where onnxruntime's static quantizer does for OP_TYPES: the inputs and the outputs of each
convolution, linear layer, addition, concatenation and global pooling; behind a ReLU in place of before it.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from tricksearch.toolkit.traced import trace

OP_TYPES = (
    "Add",
    "Clip",
    "Concat",
    "Conv",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "MatMul",
    "MaxPool",
    "Relu",
    "Reshape",
)
INERTIA = 0.9  # of a range in training: it follows the batches' ranges over some ten steps

RoundWeight = Callable[[Tensor], Tensor]
RoundActivation = Callable[[Tensor, Tensor, Tensor], Tensor]  # values, lower end, upper end

LAYERS = (nn.Conv2d, nn.Linear)
SIMPLE = {
    "relu": (nn.ReLU, nn.ReLU6, nn.functional.relu, nn.functional.relu6, torch.relu, "relu"),
    # What moves values and does not change them: rounding commutes with it.
    "move": (nn.MaxPool2d, nn.Flatten, nn.Dropout, torch.flatten, "flatten", "view", "reshape"),
    "sum": (operator.add, operator.iadd, torch.add, "add", "add_"),
    "cat": (torch.cat, torch.concat),
    "pool": (nn.AdaptiveAvgPool2d, nn.functional.adaptive_avg_pool2d),
}


class _Weight(nn.Module):
    """The parametrization of a weight that is used rounded and trained unrounded."""

    def __init__(self, rounded: RoundWeight) -> None:
        super().__init__()
        self.rounded = rounded
        self.observing = False  # round nothing

    def forward(self, weight: Tensor) -> Tensor:
        """Shape in and out (O, ...)."""
        return weight if self.observing else self.rounded(weight)


class _Activation(nn.Module):
    """Rounds a tensor of any shape within a range that it has observed."""

    low: Tensor
    high: Tensor

    def __init__(self, rounded: RoundActivation, device: torch.device) -> None:
        super().__init__()
        self.rounded = rounded
        self.observing = False  # widen the range, round nothing
        self.register_buffer("low", torch.zeros((), device=device))
        self.register_buffer("high", torch.zeros((), device=device))

    def forward(self, values: Tensor) -> Tensor:
        """Shape in and out alike."""
        if self.observing or self.training:
            low, high = (extreme.float() for extreme in values.detach().aminmax())
            if self.observing:
                self.low.copy_(torch.minimum(self.low, low))
                self.high.copy_(torch.maximum(self.high, high))
                return values
            self.low.lerp_(low, 1 - INERTIA)
            self.high.lerp_(high, 1 - INERTIA)
        return self.rounded(values.float(), self.low, self.high)


def with_rounding(net: nn.Module, weight: RoundWeight, activation: RoundActivation) -> fx.GraphModule:
    """A copy of a net in evaluation mode that rounds with these two functions. Show it images by `observe` first.

    Raises NotApplicable where the net cannot be traced.
    """
    net = copy.deepcopy(net)
    device = next(net.parameters()).device
    traced = fx.GraphModule(net, trace(net))
    for module in list(traced.modules()):
        if isinstance(module, LAYERS):
            parametrize.register_parametrization(module, "weight", _Weight(weight), unsafe=True)
    _skip_identities(traced)
    for index, node in enumerate(_rounded_nodes(traced)):
        name = f"rounded_{index}"
        traced.add_module(name, _Activation(activation, device))
        with traced.graph.inserting_after(node):
            rounding = traced.graph.call_module(name, (node,))
        node.replace_all_uses_with(rounding, delete_user_cb=functools.partial(operator.is_not, rounding))
    traced.recompile()
    return traced


def observe(net: fx.GraphModule, batches: Iterable[Tensor]) -> None:
    """Widen each range to what these images (N, C, H, W) cause in the net while it rounds nothing."""
    roundings = [module for module in net.modules() if isinstance(module, _Activation | _Weight)]
    for rounding in roundings:
        rounding.observing = True
    with torch.no_grad():
        for images in batches:
            net.eval()(images)
    for rounding in roundings:
        rounding.observing = False


def take_weights(plain: nn.Module, trained: nn.Module) -> None:
    """Give the float net the weights, unrounded, of what `with_rounding` made of it and training changed."""
    trained = copy.deepcopy(trained)
    for module in list(trained.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    weights = trained.state_dict()
    plain.load_state_dict({name: weights.get(name, value) for name, value in plain.state_dict().items()})


def _skip_identities(traced: fx.GraphModule) -> None:
    """Take out what the exported graph does not have either, and what stands between a layer and its ReLU."""
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and type(modules[str(node.target)]) is nn.Identity:
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)


def _rounded_nodes(traced: fx.GraphModule) -> list[fx.Node]:
    """The nodes whose output is rounded, in the order of the graph."""
    modules = dict(traced.named_modules())
    kinds = {node: _kind(node, modules) for node in traced.graph.nodes}
    marked: dict[fx.Node, None] = {}
    grid: set[fx.Node] = set()  # whose values lie on the grid of a rounding

    def mark(node: fx.Node) -> None:
        if node not in grid:
            marked[node] = None
            grid.add(node)

    for node, kind in kinds.items():
        sources = node.all_input_nodes
        if kind == "relu" and sources[0] in grid:
            mark(node)
        elif kind == "relu" and kinds[sources[0]] in ("layer", "sum", "cat", "pool"):
            mark(node)  # the only reader of an output that was left to it
        elif kind == "move" and sources[0] in grid:
            grid.add(node)
        elif kind in ("layer", "sum", "cat", "pool"):
            for source in sources:
                mark(source)
            readers = [kinds[user] for user in node.users]
            if readers != ["relu"]:
                mark(node)
    return list(marked)


def _kind(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    """What a node is to the quantizer: layer, one of SIMPLE, or "" for what stays in float."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        if isinstance(module, LAYERS):
            return "layer"
        what: object = type(module)
        size = getattr(module, "output_size", None)
    elif node.op in ("call_function", "call_method"):
        what, size = node.target, node.args[1] if len(node.args) > 1 else None
    else:
        return ""
    kind = next((kind for kind, those in SIMPLE.items() if what in those), "")
    if kind == "pool" and size not in (1, (1, 1)):
        return ""
    if kind == "sum" and len(node.all_input_nodes) < 2:
        return ""  # a number is added
    return kind
