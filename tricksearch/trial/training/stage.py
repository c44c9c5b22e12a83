"""The first stage: from a recipe to a trained net and its weights in a file."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tricksearch.trial.clock import TrainingClock
from tricksearch.trial.rungs import Rungs
from tricksearch.trial.training.workbench import Bench


def train_and_save(
    bench: Bench, clock: TrainingClock, rungs: Rungs | None, path: Path
) -> tuple[nn.Module, dict[str, Any]]:
    """Train the recipe's net and write its weights to `path`; returns it, and what is noted beside the weights.

    That is the training's `seconds`, what it was `seen` to do, and its `teachers`. Raises what a hook or a rung raises.
    """
    net = bench.build_net()
    _load_torch()
    with clock.training() as seconds:
        net = bench.train(net, rungs)
    content = io.BytesIO()  # torch hides the reason of a write that fails
    torch.save({name: tensor.cpu() for name, tensor in net.state_dict().items()}, content)
    path.write_bytes(content.getbuffer())
    return net, {"seconds": seconds[0], "seen": bench.watch.seen(), "teachers": bench.teachers}


def load(bench: Bench, path: Path) -> nn.Module:
    """The trained net from its weights, in evaluation mode, on the training's device."""
    net = bench.build_net()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return bench.precision.place(net).eval()


@functools.cache
def _load_torch() -> None:
    # torch imports its compiler with a process's first optimizer: seconds that are no part of a training.
    torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
