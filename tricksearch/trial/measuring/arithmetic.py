"""Whether a runtime computes a quantized file as the file says: its logits against the same arithmetic done exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tricksearch.contract import TrialError
from tricksearch.toolkit.exact_int8 import exact_logits

Array = np.ndarray[Any, Any]

FEWEST, MOST = 8, 64  # images that are compared
WORK = 16 * 10**9  # multiply-accumulates of the exact arithmetic, which takes some seconds, beyond the fewest images
FURTHER = 1.25  # times as far from the float file as exact arithmetic is: two ways to round differ by a few per cent


class SaturatedError(TrialError):
    """The runtime's 8-bit kernels lose what the file computes: their sums overflow."""


def images_to_compare(macs: int, there: int) -> int:
    """How many of the images that are there are compared, for a net of `macs` multiply-accumulates an image.

    >>> images_to_compare(10**6, 1000), images_to_compare(4 * 10**9, 1000), images_to_compare(10**6, 20)
    (64, 8, 20)
    """
    return min(there, MOST, max(FEWEST, WORK // max(macs, 1)))


def check_arithmetic(
    logits: Callable[[int, int], Array], quantized: Path, plain: Path, images: Array, runtime: str
) -> None:
    """Raise SaturatedError where a runtime's logits lie further from the float file's than exact arithmetic does.

    `logits(start, stop)` are the runtime's own, of the float32 `images` (N, C, H, W) as one batch; `quantized` is the
    file as an ONNX graph, `plain` the float graph that it was made of. What makes two right runtimes differ, such as
    the rounding of values near the middle of a step, takes neither of them further away.
    """
    given, exact = logits(0, len(images)), exact_logits(quantized, images)
    if given.shape != exact.shape or not np.isfinite(given).all():
        return  # the score says so
    start = exact_logits(plain, images)  # which has no layer of whole numbers
    rounding, off = _distance(exact, start), _distance(given, start)
    if off > FURTHER * rounding and _distance(given, exact) > rounding / 2:
        same = int((given.argmax(1) == exact.argmax(1)).sum())
        raise SaturatedError(
            f"the 8-bit kernels of {runtime} saturate on this processor: the logits lie x {off / rounding:.1f} as far "
            f"from the float net's as the file's own arithmetic, done exactly, puts them, and {same} of {len(images)} "
            "images keep their class; let the trick that quantizes write weights of 7 bits, which do not overflow"
        )


def _distance(one: Array, other: Array) -> float:
    return float(np.abs(one.astype(np.float64) - other).mean())
