"""Student's t: p-values, critical values and power. All take and give numbers or arrays, and broadcast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUANTILES = 32


def two_sided(t: Any, freedoms: Any) -> Floats:
    """Two-sided p-values of t values."""
    from scipy import special

    return np.asarray(2 * special.stdtr(freedoms, -abs(t)))


def critical(freedoms: Any, level: Any) -> Any:
    """The value that |t| exceeds with a probability of `level`, where there is no effect."""
    from scipy import special

    return -special.stdtrit(freedoms, np.minimum(level, 1.0) / 2)


def power_to_differ(strength: Any, freedoms: Any, level: Any) -> Floats:
    """The chance that a two-sided t test of this level shows an effect of so many standard errors, on its own side."""
    from scipy import special

    # It is NaN where the effect is so many standard errors large that no test could miss it.
    missed = np.asarray(special.nctdtr(freedoms, strength, critical(freedoms, level)), dtype=np.float64)
    return np.asarray(1 - np.nan_to_num(missed, nan=0.0))


def power_to_match(strength: Any, freedoms: Any, level: Any) -> Floats:
    """The chance that two one-sided t tests, each of this level, show an effect of 0 to be within the margin.

    `strength` is the margin in standard errors (Phillips 1990, by the mean over QUANTILES of the error's distribution).
    """
    from scipy import special

    strength, freedoms, level = (
        np.asarray(number, dtype=np.float64)[..., None] for number in (strength, freedoms, level)
    )
    shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
    errors = np.sqrt(special.gammaincinv(freedoms / 2, shares) * 2 / freedoms)
    room = strength - critical(freedoms, 2 * np.minimum(level, 0.5)) * errors
    return np.asarray(np.maximum(2 * special.ndtr(room) - 1, 0.0).mean(axis=-1))
