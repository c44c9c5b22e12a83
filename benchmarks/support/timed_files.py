"""ONNX files to time: the digits' net, plain, in INT8 and with SE; and copies in which everything has another name."""

from __future__ import annotations

import types
from pathlib import Path
from typing import cast

import numpy as np

from tricksearch.contract import Deployable, Workbench, discover

SHAPE, CLASSES = (1, 8, 8), 10
WIDTHS = (32, 64, 128)  # of the demo's net
SEED = 0


def plain(folder: Path, widths: tuple[int, ...] = WIDTHS) -> Deployable:
    """The exported net, untrained: its latency depends on its graph alone."""
    return _exported(folder / f"plain-{widths[0]}.onnx", widths, se=False)


def with_se(folder: Path, widths: tuple[int, ...] = WIDTHS) -> Deployable:
    """The net with squeeze-and-excitation, which only adds work."""
    return _exported(folder / f"se-{widths[0]}.onnx", widths, se=True)


def int8(folder: Path, widths: tuple[int, ...] = WIDTHS) -> Deployable:
    """The net in static INT8."""
    own = folder / f"int8-{widths[0]}"
    own.mkdir(exist_ok=True)
    images = np.random.default_rng(SEED).random((64, *SHAPE), np.float32)
    bench = types.SimpleNamespace(folder=own, calibration_images=lambda count: images[:count])
    return discover()["int8"]().deploy(plain(own, widths), cast(Workbench, bench))


def _exported(path: Path, widths: tuple[int, ...], se: bool) -> Deployable:
    import torch
    from torch import nn

    from tricksearch.trial.baseline import all_tensors_different
    from tricksearch.trial.measuring.export import export
    from tricksearch.trial.training.nets import Normalize
    from tricksearch.trial.training.resnet import SmallResNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        net: nn.Module = SmallResNet(SHAPE[0], CLASSES, widths, 1)
        if se:
            draw = torch.Generator().manual_seed(SEED)
            bench = types.SimpleNamespace(input_shape=SHAPE, generator=lambda name: draw)
            net = discover()["se"]().model(net, cast(Workbench, bench))
    whole = nn.Sequential(Normalize((0.3,) * SHAPE[0], (0.4,) * SHAPE[0]), net)
    return export(all_tensors_different(whole.eval()), SHAPE, path)


def renamed(deployable: Deployable, path: Path) -> Deployable:
    """A copy of an ONNX file whose nodes and tensors have other names, all but the input and the output."""
    import onnx

    model = onnx.load(str(deployable.path))
    graph = model.graph
    kept = {value.name for value in (*graph.input, *graph.output)} | {""}  # "" is an input that is left out
    names: dict[str, str] = {}

    def other(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"tensor_{len(names)}")

    for tensor in (*graph.initializer, *graph.value_info):
        tensor.name = other(tensor.name)
    for number, node in enumerate(graph.node):
        node.name = f"node_{number}"
        node.input[:] = [other(name) for name in node.input]
        node.output[:] = [other(name) for name in node.output]
    onnx.save(model, str(path))
    return Deployable(path)
