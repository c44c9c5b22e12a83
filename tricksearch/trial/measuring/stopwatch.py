"""The stopwatch: what a loaded deployable costs, on a machine that holds still.

reference -> warm-up -> blocks of single calls -> reference, until all have held; then throughput.
The reference is a small fixed graph, the canary: where its speed changed between the two looks, so did the
machine, and the blocks are taken again; likewise where they differ from each other. A latency is that of a call from
outside, copies to a device included. What runs on a GPU has a second reference there; a predictor with `on_device` is
timed by the device's events as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import math
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tricksearch.contract import Predictor
from tricksearch.records.measures import DRIFT, SPREAD
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring import gpu

ATTEMPTS = 4
STEADY = 0.02  # two successive pieces of the warm-up whose medians differ by no more than this share agree
PIECES = 8  # of the warm-up at most: on a machine that never settles it has to end
WARM_UP_CALLS = 10  # at least
MIN_CALLS = 5  # in a block, however slow the net
MIN_BATCHES = 3  # of each size of the throughput, however slow the net
MAX_QUEUED = 1000  # runs that are started on a device before it is waited for
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Timing:
    """What one deployable costs. Latency is in milliseconds for a call with a whole batch."""

    median_ms: float  # the median of the blocks' medians
    p95_ms: float  # of all calls
    p99_ms: float
    spread: float  # interquartile range of the blocks' medians, as a share of their median
    runs: int  # calls that were timed for the latency
    drift: float  # reference, after / before, of the attempt that was kept
    attempts: int
    throughput: dict[str, float]  # images a second at each of the settings' batch sizes
    memory_bytes: int | None = None  # filled in by the runner, which loads the deployable
    device_ms: float | None = None  # of a run on the device alone, images and logits there: median of the blocks'
    device_p95_ms: float | None = None  # of all such runs
    note: str = ""  # what could not be told

    @property
    def steady(self) -> bool:
        """Whether the machine held still."""
        return _unrest(self.drift, self.spread) <= 1


def time_latency(predictor: Predictor, images: Array, settings: LatencySettings, device: str = "cpu") -> Timing:
    """Time a predictor on batches that are filled from images float32 (N, C, H, W), N >= 1.

    The caller sees to it that the machine is otherwise idle. Of several attempts the steadiest one is kept. `device` is
    the runtime's.
    """
    references = [_reference(), *([gpu.reference()] if device == "cuda" else [])]
    batch = filled(images, settings.batch)
    step, note = _step(predictor, batch, device)
    blocks: list[Array] = []
    inside: list[Array] = []
    drift, spread, attempts = math.inf, math.inf, 0
    before = _speeds(references, settings)
    while attempts < ATTEMPTS and _unrest(drift, spread) > 1:
        attempts += 1
        _warm_up(lambda: predictor(batch), settings.block_seconds / 4)
        times = [_block(lambda: predictor(batch), settings.block_seconds) for _ in range(settings.blocks)]
        inside_times = _device_blocks(step, float(np.median(np.concatenate(times))), settings, device) if step else []
        after = _speeds(references, settings)
        moved = float(max(after / before, key=lambda ratio: abs(ratio - 1)))
        low, middle, high = np.percentile([np.median(block) for block in times], [25, 50, 75])
        apart = float((high - low) / middle)
        if not blocks or _unrest(moved, apart) < _unrest(drift, spread):
            blocks, inside, drift, spread, median = times, inside_times, moved, apart, float(middle)
        before = after
    calls = np.concatenate(blocks)
    return Timing(
        median_ms=median * 1e3,
        p95_ms=float(np.percentile(calls, 95) * 1e3),
        p99_ms=float(np.percentile(calls, 99) * 1e3),
        spread=spread,
        runs=len(calls),
        drift=drift,
        attempts=attempts,
        throughput={
            str(size): size / (median if size == settings.batch else _seconds(predictor, images, size, settings))
            for size in settings.batches
        },
        device_ms=float(np.median([np.median(block) for block in inside]) * 1e3) if inside else None,
        device_p95_ms=float(np.percentile(np.concatenate(inside), 95) * 1e3) if inside else None,
        note=note,
    )


def _unrest(drift: float, spread: float) -> float:
    """How far the machine was from holding still; up to 1 it counts as still."""
    return max(abs(drift - 1) / DRIFT, spread / SPREAD)


def filled(images: Array, batch: int) -> Array:
    """A batch of the first images, repeated where there are fewer: (N, ...) -> (batch, ...)."""
    return np.resize(images[:batch], (batch, *images.shape[1:]))


def _step(predictor: Predictor, batch: Array, device: str) -> tuple[Callable[[], object] | None, str]:
    """What runs the batch on the device alone, if the predictor offers it; and why it does not, where it fails."""
    prepare = getattr(predictor, "on_device", None)
    if prepare is None:
        return None, ""
    try:
        step = gpu.prepared(prepare, batch) if device == "cuda" else prepare(batch)
        _runs(step, 1, device)
    except Exception as error:  # the latency itself does not depend on it
        traceback.print_exc()
        return None, f"no device times: {type(error).__name__}: {error}"[:500]
    return step, ""


def _device_blocks(step: Callable[[], object], seconds: float, settings: LatencySettings, device: str) -> list[Array]:
    """Blocks of runs on the device, as many in each as calls of so many seconds would fit in."""
    calls = min(MAX_QUEUED, max(MIN_CALLS, math.ceil(settings.block_seconds / seconds)))
    _settle(lambda: _runs(step, max(MIN_CALLS, calls // 4), device), WARM_UP_CALLS)
    return [_runs(step, calls, device) for _ in range(settings.blocks)]


def _runs(step: Callable[[], object], calls: int, device: str) -> Array:
    """Seconds of each of so many runs, by the device's own clock."""
    if device == "cuda":
        return gpu.timed(step, calls)
    return _block(step, 0.0, at_least=calls)


def _speeds(references: list[Callable[[], object]], settings: LatencySettings) -> Array:
    """Seconds that each reference takes now."""
    speeds = []
    for reference in references:
        _warm_up(reference, settings.block_seconds / 4)
        speeds.append(np.median(_block(reference, settings.block_seconds / 2)))
    return np.array(speeds)


def _seconds(predictor: Predictor, images: Array, size: int, settings: LatencySettings) -> float:
    """Seconds that a batch of this size takes, once: throughput is a coarser measure than latency."""
    batch = filled(images, size)
    _warm_up(lambda: predictor(batch), settings.block_seconds / 4, at_least=2)
    return float(np.median(_block(lambda: predictor(batch), settings.block_seconds / 2, at_least=MIN_BATCHES)))


def _warm_up(call: Callable[[], object], seconds: float, at_least: int = WARM_UP_CALLS) -> None:
    """Call until two successive pieces of `seconds` agree, PIECES of them at most."""
    _settle(lambda: _block(call, seconds, at_least=-(-at_least // 2)), at_least)


def _settle(block: Callable[[], Array], at_least: int) -> None:
    done, last = 0, 0.0
    for _ in range(PIECES):
        piece = block()
        done, median = done + len(piece), float(np.median(piece))
        if done >= at_least and abs(median - last) <= STEADY * last:
            break
        last = median


def _block(call: Callable[[], object], seconds: float, at_least: int = MIN_CALLS) -> Array:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < at_least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return np.array(times)


def added_memory(act: Callable[[], object]) -> int | None:
    """Bytes that `act` adds to this process's resident memory, at its peak; None where the system does not tell.

    What the process has kept from earlier work is given back first. Whatever `act` would do only once, such as
    importing a library, the caller does before. Linux counts memory in pages, and lazily: small nets drown in it.
    """
    gc.collect()
    with contextlib.suppress(AttributeError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)
    before = None
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is resident now
        before = _peak_memory()
    act()
    after = _peak_memory()
    return None if before is None or after is None else max(0, after - before)


def _peak_memory() -> int | None:
    with contextlib.suppress(OSError):
        match = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
        return int(match[1]) * 1024 if match else None
    return None


@functools.cache
def _reference() -> Callable[[], object]:
    """A fixed graph of two convolutions over 32 channels, about 0.1 ms, in ONNX Runtime with one thread."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(0, 0.05, (32, 32, 3, 3)).astype(np.float32), name)
        for name in ("w1", "w2")
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["y"], pads=[1, 1, 1, 1]),
    ]
    shape = [1, 32, 16, 16]
    graph = helper.make_graph(
        nodes,
        "reference",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    images = {"x": random.normal(0, 1, shape).astype(np.float32)}
    return lambda: session.run(None, images)


def measures_of(timing: Timing) -> dict[str, Any]:
    """A timing by the names of measures and of a record's other fields."""
    return {
        "latency_ms": timing.median_ms,
        "latency_p95_ms": timing.p95_ms,
        "latency_p99_ms": timing.p99_ms,
        "latency_runs": timing.runs,
        "latency_spread": timing.spread,
        "latency_drift": timing.drift,
        "latency_note": timing.note,
        "device_ms": timing.device_ms,
        "device_p95_ms": timing.device_p95_ms,
        "throughput": max(timing.throughput.values()),
        "throughputs": timing.throughput,
        "memory_bytes": timing.memory_bytes,
    }
