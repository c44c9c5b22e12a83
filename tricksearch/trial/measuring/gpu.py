"""A GPU under the stopwatch: its own clock, a reference that runs on it, and whether others use it.

Only the runner's process comes here, and only for a runtime on CUDA: torch is imported where it is used. There is no
lock of its own: trials give up the GPUs with the machine.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tricksearch.contract import TrialError

REST = 10  # percent of the time: below it, a GPU is taken to rest; a desktop alone takes a few
PATIENCE = 5.0  # seconds that it may take to come to rest: the driver counts over the last second, our own work too
SIDE = 2048  # of the reference's matrices: 17 GFLOP, from 0.3 ms on a large GPU to a few on a small one
Array = np.ndarray[Any, Any]
Step = Callable[[], object]


def prepared(on_device: Callable[[Array], Step], images: Array) -> Step:
    """What a predictor's `on_device` makes of images, ready to be timed."""
    import torch

    with torch.cuda.stream(_stream()):
        step = on_device(images)
        torch.cuda.synchronize()
    return step


def timed(step: Step, calls: int) -> Array:
    """Seconds that each of `calls` runs takes, (calls,): between two events on the GPU, which is waited for once."""
    import torch

    event: Any = torch.cuda.Event  # not typed
    events = [(event(enable_timing=True), event(enable_timing=True)) for _ in range(calls)]
    with torch.cuda.stream(_stream()):
        torch.cuda.synchronize()
        for start, end in events:
            start.record()
            step()
            end.record()
        torch.cuda.synchronize()
    return np.array([start.elapsed_time(end) / 1e3 for start, end in events])


@functools.cache
def reference() -> Step:
    """A fixed product of two matrices in float32, waited for: its speed follows the clock of the GPU."""
    import torch

    source = torch.Generator("cuda").manual_seed(0)
    one, other = (torch.randn(SIDE, SIDE, device="cuda", generator=source) for _ in range(2))
    product = torch.empty_like(one)

    def multiply() -> None:
        torch.mm(one, other, out=product)
        torch.cuda.synchronize()

    return multiply


def wait_for_rest() -> str:
    """Wait until the GPU has nothing to do. Raises TrialError where it still has after PATIENCE.

    Returns a note where that cannot be told, as without NVML.
    """
    import torch

    end = time.monotonic() + PATIENCE
    while True:
        try:
            busy = torch.cuda.utilization()
        except Exception as error:  # NVML's own kinds; a part of a GPU (MIG) has no such counter
            return f"whether others used the GPU is not known: {type(error).__name__}: {error}"
        if busy <= REST:
            return ""
        if time.monotonic() >= end:
            raise TrialError(
                f"other processes keep the GPU busy, {busy} % of the time after {PATIENCE:.0f} s of waiting: a latency "
                "beside them would not be the deployable's. Give the study a GPU of its own"
            )
        time.sleep(0.1)


@functools.cache
def _stream() -> Any:
    """Not the default stream: some libraries take its number, 0, for none."""
    import torch

    return torch.cuda.Stream()  # type: ignore[no-untyped-call]
