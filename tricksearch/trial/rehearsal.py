"""A rehearsal: a recipe's tricks act on the untrained net once, from its building to a file that answers.

What comes of it is thrown away; that it comes, or why not, is known before anything is trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tricksearch.contract import Deployable, NotApplicable, Registry, TrialError
from tricksearch.records.recipe import Recipe
from tricksearch.trial.baseline import all_tensors_different
from tricksearch.trial.compression import compress, portable
from tricksearch.trial.data import DataSet
from tricksearch.trial.deployment import deploy, runtime_of
from tricksearch.trial.measuring.arithmetic import check_arithmetic
from tricksearch.trial.measuring.export import export
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.measuring.runtimes import load
from tricksearch.trial.net_stages import GRAPH
from tricksearch.trial.training.workbench import Bench

IMAGES = 8  # enough to calibrate on, and to see that a file answers


def rehearse(recipe: Recipe, registry: Registry, data: DataSet, machine: Machine, folder: Path) -> Deployable:
    """The file that a recipe makes of its untrained net, in `folder`; it was run on a few images.

    Raises NotApplicable where a trick finds nothing to act on, TrialError where the file does not answer or its 8-bit
    arithmetic saturates, and what hooks raise.
    """
    bench = _Rehearsal(recipe, 0, registry, data, machine, folder, teach=_untrained, net=lambda: portable(net))
    net = compress(bench, bench.precision.place(all_tensors_different(bench.build_net())).eval())
    plain, runtime = export(net, bench.input_shape, folder / GRAPH), runtime_of(bench)
    deployable, graph = deploy(bench, plain, lambda: runtime)
    images = bench.calibration_images(IMAGES)
    logits = load(runtime, deployable, 1)(images)
    if logits.shape != (len(images), bench.num_classes) or not np.isfinite(logits).all():
        raise TrialError(f"the file gives no finite logits of the shape ({len(images)}, {bench.num_classes})")
    if deployable.precision == "quantized":
        check_arithmetic(lambda *_: logits, graph, plain.path, images, runtime.name)
    return deployable


class _Rehearsal(Bench):
    """A workbench that trains nothing and hands out few images."""

    def fine_tune(self, net: nn.Module, epochs: int, lr: float) -> nn.Module:
        """The net, which ran one batch in training mode."""
        net.train()(self._images.pixels[:IMAGES].float() / 255)
        return net.eval()

    def calibration_images(self, count: int) -> np.ndarray[Any, Any]:
        """At most IMAGES."""
        return super().calibration_images(min(count, IMAGES))


def _untrained(recipe: Recipe) -> nn.Module:
    raise NotApplicable("it asks for a trained net when the net is built")
