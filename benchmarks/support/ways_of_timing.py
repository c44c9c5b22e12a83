"""Ways to compare the latencies of two files that the stopwatch is held against, each as small as it can be."""

from __future__ import annotations

import contextlib
import io
import math
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tricksearch.contract import Deployable
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME, load

BLOCK = 0.02  # seconds of calls in a row
BLOCKS = 5  # whose median was a latency when each file was timed for itself
LOOP = 100  # calls of a plain timing loop
WARM_UP = 10  # calls
NORMAL = 1.96
Array = np.ndarray[Any, Any]
Call = Callable[[], object]


def loaded(deployable: Deployable, image: Array) -> Call:
    """A call of the file with one image float32 (1, C, H, W), on one thread, warmed up."""
    predictor = load(ONNX_RUNTIME, deployable, 1)
    for _ in range(WARM_UP):
        predictor(image)
    return lambda: predictor(image)


def rounds(calls: Sequence[Call], count: int, seconds: float = BLOCK) -> Array:
    """Blocks of each file in turn: the median of each in seconds, (count, files)."""
    return np.array([[_block(call, seconds) for call in calls] for _ in range(count)])


def _block(call: Call, seconds: float) -> float:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def interleaved(own: Array, base: Array, count: int) -> Array:
    """Ratios of `own` to `base`, seconds (loadings, rounds), each from `count` rounds of one loading in a row."""
    windows = own.shape[1] // count
    ratios = (own / base)[:, : windows * count].reshape(-1, count)
    return np.asarray(np.median(ratios, axis=1))


def at_two_moments(own: Array, base: Array, draws: int, seed: int = 0) -> Array:
    """The same from BLOCKS blocks of each file at a moment of its own, drawn at random `draws` times."""
    draw = np.random.default_rng(seed)
    loadings, length = own.shape

    def latency(seconds: Array) -> float:
        start = draw.integers(length - BLOCKS + 1)
        return float(np.median(seconds[draw.integers(loadings), start : start + BLOCKS]))

    return np.array([latency(own) / latency(base) for _ in range(draws)])


def plain_loop(own: Call, base: Call) -> tuple[float, float, float]:
    """The ratio of two means of LOOP calls, the files one after the other, and the 95 % interval by their errors."""
    means, errors = [], []
    for call in (base, own):
        times = []
        for _ in range(LOOP):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        means.append(float(np.mean(times)))
        errors.append(float(np.std(times, ddof=1)) / math.sqrt(LOOP) / means[-1])
    ratio, half = means[1] / means[0], NORMAL * math.hypot(*errors)
    return ratio, ratio * math.exp(-half), ratio * math.exp(half)


def onnxruntime_test_ms(path: Path) -> float:
    """Mean ms of the 1,000 calls of `onnxruntime_test`, ONNX Runtime's own tool, with its own number of threads."""
    from onnxruntime.tools.onnxruntime_test import run_model

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run_model(str(path), num_iters=1000)
    match = re.search(r"avg latency: (\S+) ms", printed.getvalue())
    if match is None:
        raise RuntimeError(f"onnxruntime_test gave no latency: {printed.getvalue()}")
    return float(match[1])
