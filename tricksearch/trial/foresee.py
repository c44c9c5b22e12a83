"""Foreseen measures: what the untrained net's graph says of a recipe, before anything is trained."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from tricksearch.trial.baseline import all_tensors_different
from tricksearch.trial.compression import compress, portable
from tricksearch.trial.deployment import file_bytes, skeleton_of
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
        net = compress(bench, bench.precision.place(all_tensors_different(bench.build_net())).eval())
        params, macs = count(net, bench.input_shape)
        deployable, graph = stages.deploy(bench, export(net, bench.input_shape, bench.folder / GRAPH))
        timed = stages.timed(deployable, stages.runtime(), skeleton_of(graph))
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
