"""Confidence intervals of measured shares."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a share: (low, high), both in [0, 1], after `successes` of `n` independent draws.

    It covers the chance of the drawn images alone, not that of the training seed. Source: Wilson 1927,
    "Probable inference, the law of succession, and statistical inference", without continuity correction.
    Raises ValueError where n is below 1, successes outside [0, n], or the confidence outside (0, 1).

    >>> low, high = wilson(291, 300)
    >>> f"{low:.4f} {high:.4f}"
    '0.9440 0.9841'
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be in [0, {n}], got {successes}")
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence must be between 0 and 1, got {confidence}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the formula is exactly 0 and 1; rounding leaves it beside them.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high
