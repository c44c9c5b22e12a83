"""Runs that lie far off: a training that collapsed makes every interval of its experiment wide, and nobody sees why."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FAR = 6.0  # robust standard deviations from what the other runs lead one to expect
ROUNDS = 50  # of the iteration for the least absolute deviations
NORMAL_MEDIAN = 0.6745  # of the absolute value of a standard normal


def shortfalls(residuals: Floats, exact: int) -> Floats:
    """By how much each run is worse than expected, where that is far; 0 for every other one. Same shape, same unit.

    `residuals` are of a fit that a few runs far off do not move, above 0 where a run is better; `exact` of them are 0
    because the fit goes through them. The scale is that of the others' median; where more than half of them are 0, as
    with a measure that takes few values, it is that of the smallest other one.
    """
    sizes = np.sort(abs(residuals))[exact:]
    typical = float(np.median(sizes)) if len(sizes) else 0.0
    if not typical and len(apart := sizes[sizes > 0]) > 1:
        typical = float(apart[0])
    scale = typical / NORMAL_MEDIAN
    return np.where((residuals < -FAR * scale) & (scale > 0), -residuals, 0.0)


def residuals_of_design(runs: Sequence[Collection[str]], values: Sequence[float]) -> tuple[Floats, int]:
    """Of main effects by least absolute deviations, (n,), and how many runs that fit goes through.

    By iteratively reweighted least squares (Schlossmacher 1973).
    """
    tricks = sorted(set().union(*runs))
    model = np.array([[1.0, *(float(trick in run) for trick in tricks)] for run in runs])
    data = np.asarray(values, dtype=np.float64)
    left = data - np.median(data)
    least = 1e-6 * (float(abs(left).max()) or 1.0)
    for _ in range(ROUNDS):
        weights = np.sqrt(1 / np.maximum(abs(left), least))
        fitted = np.linalg.lstsq(model * weights[:, None], data * weights, rcond=None)[0]
        left = data - model @ fitted
    return left, int(np.linalg.matrix_rank(model))


def residuals_of_arms(arms: Sequence[Sequence[float]]) -> tuple[Floats, int]:
    """Of each arm's median, all arms one after another; of an even number the better one in the middle counts."""
    parts = [np.asarray(arm, dtype=np.float64) - np.sort(arm)[len(arm) // 2] for arm in arms if len(arm)]
    return (np.concatenate(parts) if parts else np.empty(0)), len(parts)
