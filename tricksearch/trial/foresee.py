"""Foreseen measures: what the untrained net's graph says of a recipe, before anything is trained."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tricksearch.trial.compression import compress, portable
from tricksearch.trial.deployment import file_bytes
from tricksearch.trial.measuring.export import count, export
from tricksearch.trial.net_stages import GRAPH
from tricksearch.trial.stages import Stages
from tricksearch.trial.training.workbench import Bench


def foreseen(stages: Stages) -> dict[str, Any] | None:
    """The measures that the shape of the graph decides, from an untrained net; None where training decides it.

    Raises NotApplicable and the like where the trained net would fail in the same way.
    """
    if not all(trick.foreseeable() for trick in stages.bench.tricks) or stages.is_deployed:
        return None
    stages.context.note("foresee")
    try:
        return _measured_untrained(stages)
    except _NotForeseeableError:
        return None


def _measured_untrained(stages: Stages) -> dict[str, Any]:
    context = stages.context
    with tempfile.TemporaryDirectory(dir=stages.folder) as folder:
        bench = _DryBench(
            stages.recipe,
            stages.seed,
            context.registry,
            context.data,
            context.machine,
            Path(folder),
            teach=stages.net.teach,
            net=lambda: portable(net),
        )
        net = compress(bench, bench.precision.place(_all_tensors_different(bench.build_net())).eval())
        params, macs = count(net, bench.input_shape)
        deployable, skeleton = stages.deploy(bench, export(net, bench.input_shape, bench.folder / GRAPH))
        timed = stages.timed(deployable, stages.runtime(), skeleton)
        return {**timed, "params": params, "macs": macs, "file_bytes": file_bytes(deployable)}


class _NotForeseeableError(Exception):
    pass


class _DryBench(Bench):
    """A workbench that trains nothing: what matters is the shape that comes out."""

    def fine_tune(self, net: nn.Module, epochs: int, lr: float) -> nn.Module:
        """The net as it is."""
        return net.eval()

    def teacher(self, spec: str | dict[str, Any], epochs: float) -> nn.Module:
        """None is needed without training."""
        raise _NotForeseeableError


def _all_tensors_different(net: nn.Module) -> nn.Module:
    """The untrained net with no two tensors alike: the exporter would store equal ones, such as zeros, only once."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.01 * torch.rand(tensor.shape, generator=source).to(tensor))
    return net
