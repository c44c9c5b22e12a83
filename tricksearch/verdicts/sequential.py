"""Group-sequential looks: results may be looked at early, and the error rate is still the one that was stated.

At each look a test may spend a part of its level, little at first (O'Brien & Fleming's shape): Lan & DeMets 1983,
"Discrete sequential boundaries for clinical trials". A look's p-value is turned into the *level at which it would just
be shown*, which is a p-value that allows for all looks (Liu & Anderson 2008); any multiple test may then be made of
these, because each test has its own boundary at whatever level it is given (Maurer & Bretz 2013, "Multiple testing in
group sequential trials using graphical approaches").
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS = np.logspace(-10, 0, 201)  # between which boundaries are interpolated, on logarithmic scales
NODES = 96  # of the integration over the paths that no look has stopped
STEPS = 60  # of the bisection for a boundary
FARTHEST = 40.0  # standard errors; no boundary lies beyond


@dataclass(frozen=True)
class Looks:
    """The looks at one test, up to and including this one, by the share of all information that each had.

    The share of the planned runs stands for the information. The last of all planned looks has 1; later looks need not
    be known, and may change with the plan, but not with the results (Lan & DeMets 1983).
    Raises ValueError unless the shares rise, from above 0 to at most 1.
    """

    fractions: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        rising = all(one < two for one, two in zip((0.0, *self.fractions), self.fractions, strict=False))
        if not self.fractions or not rising or self.fractions[-1] > 1:
            raise ValueError(f"looks have rising shares of the information, up to 1; got {self.fractions}")

    def nominal(self, level: Any) -> Any:
        """The two-sided p-value below which a test of this level is shown at this look. Any shape, in (0, 1]."""
        if self.fractions == (1.0,):
            return level
        return np.exp(np.interp(np.log(level), np.log(LEVELS), _table(self.fractions)))

    def level(self, p: Any) -> Any:
        """The level at which a two-sided p-value of this look is just shown: `nominal` backwards. Any shape.

        It is a p-value that allows for all looks; not below 1e-10.
        """
        if self.fractions == (1.0,):
            return p
        logs = np.log(np.maximum(p, np.finfo(float).tiny))
        return np.exp(np.interp(logs, _table(self.fractions), np.log(LEVELS)))


def _spent(levels: Floats, fraction: float) -> Floats:
    """What has been spent of each two-sided level; each side spends half of it."""
    from scipy import special

    return np.asarray(4 * special.ndtr(special.ndtri(levels / 4) / np.sqrt(fraction)))


@functools.cache
def _table(fractions: tuple[float, ...]) -> Floats:
    """The logarithm of the last look's nominal p-value for each of LEVELS, rising."""
    logs = np.log(np.maximum(boundaries(LEVELS, fractions)[-1], np.finfo(float).tiny))
    # Where all is too small for a floating-point number, np.interp still needs an order.
    return np.maximum.accumulate(logs + 1e-12 * np.arange(len(logs)))


def boundaries(levels: Floats, fractions: tuple[float, ...]) -> list[Floats]:
    """The two-sided nominal p-values of tests of all `levels`, an array for each look.

    After Lan & DeMets and O'Brien & Fleming, by Armitage, McPherson & Rowe's (1969) recursive integration. Between
    looks the score process moves like a Brownian motion, whose time is the information. Its density over the paths
    that were not stopped is kept on Gauss-Legendre nodes between the boundaries, one row for each level.

    >>> [f"{p[0]:.4f}" for p in boundaries(np.array([0.05]), (0.5, 1.0))]
    ['0.0031', '0.0490']
    """
    from scipy import special

    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    places, masses = np.zeros((len(levels), 1)), np.ones((len(levels), 1))  # all paths start at 0
    nominal, before, time = [], np.zeros(len(levels)), 0.0
    for fraction in fractions:
        step = np.sqrt(fraction - time)
        wanted = _spent(levels, fraction) - before
        low, high = np.zeros(len(levels)), np.full(len(levels), FARTHEST)
        for _ in range(STEPS):
            middle = (low + high) / 2
            edge = (middle * np.sqrt(fraction))[:, None]
            beyond = special.ndtr((places - edge) / step) + special.ndtr((-places - edge) / step)
            over = (masses * beyond).sum(axis=1) > wanted
            low, high = np.where(over, middle, low), np.where(over, high, middle)
        nominal.append(2 * special.ndtr(-high))
        edge = (high * np.sqrt(fraction))[:, None]
        moved = edge * nodes
        spread = np.exp(-(((moved[:, :, None] - places[:, None, :]) / step) ** 2) / 2) / (step * np.sqrt(2 * np.pi))
        masses = (spread * masses[:, None, :]).sum(axis=2) * edge * weights
        places, before, time = moved, before + wanted, fraction
    return nominal
