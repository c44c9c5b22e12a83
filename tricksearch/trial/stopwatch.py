"""The stopwatch: what a loaded deployable costs, on a machine that holds still.

reference -> warm-up -> blocks of single calls -> reference, until the reference has held; then throughput.
The reference is a small fixed graph, the canary: where its speed changed between the two looks, so did the
machine, and the blocks are taken again. What runs on another device than the CPU is timed from outside, call by
call; there are no device events.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tricksearch.contract import Predictor
from tricksearch.trial.settings import LatencySettings

DRIFT = 0.02  # a reference that moved by more than this share asks for another attempt
ATTEMPTS = 4
STEADY = 0.02  # two successive pieces of the warm-up whose medians differ by no more than this share agree
PIECES = 8  # of the warm-up at most: on a machine that never settles it has to end
WARM_UP_CALLS = 10  # at least
MIN_CALLS = 5  # in a block, however slow the net
MIN_BATCHES = 3  # of each size of the throughput, however slow the net
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


def time_latency(predictor: Predictor, images: Array, settings: LatencySettings) -> Timing:
    """Time a predictor on batches that are filled from images float32 (N, C, H, W), N >= 1.

    The caller sees to it that the machine is otherwise idle. Of several attempts, the one with the least drift is kept.
    """
    reference = _reference()
    batch = filled(images, settings.batch)
    blocks: list[Array] = []
    drift, attempts = float("inf"), 0
    before = _speed(reference, settings)
    while attempts < ATTEMPTS and abs(drift - 1) > DRIFT:
        attempts += 1
        _warm_up(lambda: predictor(batch), settings.block_seconds / 4)
        found = [_block(lambda: predictor(batch), settings.block_seconds) for _ in range(settings.blocks)]
        after = _speed(reference, settings)
        if not blocks or abs(after / before - 1) < abs(drift - 1):
            blocks, drift = found, after / before
        before = after
    medians = np.array([np.median(block) for block in blocks])
    low, middle, high = np.percentile(medians, [25, 50, 75])
    calls = np.concatenate(blocks)
    return Timing(
        median_ms=float(middle * 1e3),
        p95_ms=float(np.percentile(calls, 95) * 1e3),
        p99_ms=float(np.percentile(calls, 99) * 1e3),
        spread=float((high - low) / middle),
        runs=len(calls),
        drift=drift,
        attempts=attempts,
        throughput={
            str(size): size / (float(middle) if size == settings.batch else _seconds(predictor, images, size, settings))
            for size in settings.batches
        },
    )


def filled(images: Array, batch: int) -> Array:
    """A batch of the first images, repeated where there are fewer: (N, ...) -> (batch, ...)."""
    return np.resize(images[:batch], (batch, *images.shape[1:]))


def _speed(reference: Callable[[], object], settings: LatencySettings) -> float:
    """Seconds that the reference takes now."""
    _warm_up(reference, settings.block_seconds / 4)
    return float(np.median(_block(reference, settings.block_seconds / 2)))


def _seconds(predictor: Predictor, images: Array, size: int, settings: LatencySettings) -> float:
    """Seconds that a batch of this size takes, once: throughput is a coarser measure than latency."""
    batch = filled(images, size)
    _warm_up(lambda: predictor(batch), settings.block_seconds / 4, at_least=2)
    return float(np.median(_block(lambda: predictor(batch), settings.block_seconds / 2, at_least=MIN_BATCHES)))


def _warm_up(call: Callable[[], object], seconds: float, at_least: int = WARM_UP_CALLS) -> None:
    """Call until two successive pieces of `seconds` agree, PIECES of them at most."""
    done, last = 0, 0.0
    for _ in range(PIECES):
        piece = _block(call, seconds, at_least=-(-at_least // 2))
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
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
        return int(found[1]) * 1024 if found else None
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
