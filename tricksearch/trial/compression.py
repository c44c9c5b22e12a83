"""The second stage: from a trained net to the float graph."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tricksearch.trial.measuring.export import count, export
from tricksearch.trial.training.watch import effective

if TYPE_CHECKING:
    from tricksearch.trial.clock import TrainingClock
    from tricksearch.trial.training.workbench import Bench


def compress(bench: Bench, net: nn.Module) -> nn.Module:
    """What the compress hooks make of a net, in evaluation mode."""
    torch.manual_seed(bench.stream("compress"))
    for trick in bench.tricks:
        net = trick.compress(net, bench)
    return net.eval()  # a hook may leave it in training mode, where counting would change its batch norms


def timed_compress(bench: Bench, clock: TrainingClock, net: nn.Module) -> tuple[nn.Module, float]:
    """What the compress hooks make of a net, and the seconds that their trainings took."""
    with clock.training() as seconds:
        net = compress(bench, net)
    return net, seconds[0]


def portable(net: nn.Module) -> nn.Module:
    """A copy of a compressed net for the deploy hooks: float32, on the CPU, contiguous, in evaluation mode."""
    return copy.deepcopy(net).cpu().float().eval().to(memory_format=torch.contiguous_format)


def exported(
    bench: Bench, net: nn.Module, path: Path, trained: Mapping[str, Any] | None, seconds: float
) -> dict[str, Any]:
    """Write the float graph of a compressed net to `path`; returns what is counted on it.

    `trained` is what was noted beside the trained net, None where that is gone; `seconds` is what the compression
    took. Raises TrialError where the net cannot be exported.
    """
    trained = trained or {"seconds": 0.0, "seen": {}, "teachers": {}}
    params, macs = count(net, bench.input_shape)
    export(net, bench.input_shape, path)
    # A teacher of the loss is asked for again by a fine-tuning, and counts once.
    seen = effective(trained["seen"], bench.epochs + bench.fine_tuned, trained["teachers"] | bench.teachers)
    return {"params": params, "macs": macs, "train_seconds": trained["seconds"] + seconds, "effective": seen}
