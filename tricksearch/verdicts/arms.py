"""Arms of a few runs each: differences between their means, and the drift of the machine while they ran.

Two things make tests between such arms wrong more often than they say. A machine that grows slower over the phase looks
like a trick: so a trend over the order of the runs, one for all arms, is estimated and taken out (arms run in rounds,
so it is nearly the same for each of them, and what is left of its error is added). And a variance from two to five
values is often far too small by chance, which Welch's (1947) test, at the small levels that many tricks need, does not
allow for: 6 to 39 % wrong families of 6 or 10 tricks, where 5 % are asked for. So each arm's variance is moderated:
averaged with that of all arms together, which counts as `weight` degrees of freedom (as Smyth 2004 does for
microarrays, but with a weight that is not estimated, because so few arms cannot tell it). It is kept as low as 2 since
arms may truly differ: a trick may make training restless. The degrees of freedom of a difference are the harmonic mean
of those of its arms, weighted with what each adds to the variance. This is never more than the largest of them, as in
Cochran & Cox's (1950) test, where Satterthwaite's (1946) sum is. `python -m benchmarks arms` shows the error rates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tricksearch.verdicts.verdict import Constant, Estimate, Unknown

Floats = NDArray[np.float64]

MOST_WEIGHT = 2.0  # degrees of freedom that the variance of all arms counts as beside an arm's own
ARMS_A_WEIGHT = 3.0  # further arms that it takes for each of them: a few arms do not tell what is usual
SPARE = 4  # degrees of freedom that are left beside a trend, at least
TINY = 1e-9  # of what is 1 or of ordinary size: no more than rounding


@dataclass(frozen=True)
class Drift:
    """A trend over the order of the runs, from the first to the last, on the scale of the analysis."""

    change: float
    error: float
    freedom: float
    n: int  # runs


@dataclass(frozen=True)
class _Arm:
    mean: float  # without the drift
    raw: float  # as measured
    variance: float  # its own, of one run, without the drift
    varies: bool
    place: float  # the mean place of its runs, from 0 to 1
    n: int
    size: float  # the largest absolute value


class Arms:
    """The runs of all arms of one experiment, for one measure, with what they have in common."""

    def __init__(self, arms: Mapping[str, Sequence[tuple[float, float]]], drifts: bool = True) -> None:
        """`arms` are pairs (when it ran, value) of each arm's runs; when is any number that rises, as a trial's does.

        Values are on the scale of the analysis; `drifts`: they may follow the state of the machine, as what is counted
        does not. Raises ValueError where a value is not finite.
        """
        runs = {name: np.array(list(pairs), dtype=np.float64).reshape(-1, 2) for name, pairs in arms.items()}
        if not all(np.isfinite(pairs).all() for pairs in runs.values()):
            raise ValueError("a value is not finite: leave out what was not measured")
        order = np.unique(np.concatenate([pairs[:, 0] for pairs in runs.values()] or [np.empty(0)]))
        places = {name: np.searchsorted(order, pairs[:, 0]) / max(1, len(order) - 1) for name, pairs in runs.items()}
        self.drift = _drift([(places[name], runs[name][:, 1]) for name in runs]) if drifts else None
        self._arms = {name: self._arm(places[name], runs[name][:, 1]) for name in runs}
        freedoms = {name: arm.n - 1 for name, arm in self._arms.items() if arm.n > 1}
        self._weight = min(MOST_WEIGHT, max(0, len(freedoms) - 1) / ARMS_A_WEIGHT)
        total = sum(freedoms.values())
        squares = sum(freedom * self._arms[name].variance for name, freedom in freedoms.items())
        spent = total - (self.drift is not None)
        self._inflation = total / spent if spent > 0 else 1.0  # the trend takes a degree of freedom from the noise
        self._pooled = squares / total if total else 0.0

    def contrast(self, name: str, weights: Sequence[tuple[float, str]]) -> Estimate | Unknown:
        """A weighted sum of the means of arms, given as (weight, arm). Arms with a weight above 0 count as `on`."""
        arms = [(weight, self._arms[arm]) for weight, arm in weights]
        for weight, arm in arms:
            if arm.n < 2:
                runs = f"{'1 run' if arm.n else 'no run'} {'with' if weight > 0 else 'without'} {name}"
                return Unknown(name, f"{runs} has a result, which does not show how much runs differ: run at least 2")
        on, off = (sum(arm.n for weight, arm in arms if (weight > 0) == side) for side in (True, False))
        if not any(arm.varies for _, arm in arms):
            return _constant(name, sum(weight * arm.raw for weight, arm in arms), max(a.size for _, a in arms), on, off)
        effect = float(sum(weight * arm.mean for weight, arm in arms))
        shares = np.array([weight**2 * self._moderated(arm) / arm.n for weight, arm in arms])
        freedoms = np.array([arm.n - 1 + self._weight for _, arm in arms])
        if self.drift is not None:  # what the error of the trend adds, where arms ran sooner or later than others
            shift = sum(weight * arm.place for weight, arm in arms)
            shares = np.append(shares, (shift * self.drift.error) ** 2)
            freedoms = np.append(freedoms, self.drift.freedom)
        freedom = float(shares.sum() / (shares / freedoms).sum())
        return Estimate(name, effect, float(np.sqrt(shares.sum())), freedom, on, off)

    def _arm(self, places: Floats, values: Floats) -> _Arm:
        if not len(values):
            return _Arm(0.0, 0.0, 0.0, False, 0.5, 0, 0.0)
        size, raw = float(abs(values).max()), float(values.mean())
        varies = bool(np.ptp(values) > TINY * size)
        if self.drift is not None:
            values = values - self.drift.change * (places - 0.5)
        variance = float(values.var(ddof=1)) if len(values) > 1 else 0.0
        return _Arm(float(values.mean()), raw, variance, varies, float(places.mean()), len(values), size)

    def _moderated(self, arm: _Arm) -> float:
        own = (self._weight * self._pooled + (arm.n - 1) * arm.variance) / (self._weight + arm.n - 1)
        return own * self._inflation


def _drift(arms: Sequence[tuple[Floats, Floats]]) -> Drift | None:
    """The trend that all arms share, as (places, values) of each: least squares within arms.

    Its error allows for arms whose runs vary more than others' (HC1). None where too few runs, or too little noise,
    could tell it.
    """
    within = [(places - places.mean(), values - values.mean()) for places, values in arms if len(values) > 1]
    if not within:
        return None
    places, values = (np.concatenate(parts) for parts in zip(*within, strict=True))
    n, freedom = len(places), len(places) - len(within) - 1
    spread = float(places @ places)
    size = max(float(abs(values).max()) for _, values in arms if len(values))
    if freedom < SPARE or spread <= TINY or abs(values).max() <= TINY * size:
        return None
    change = float(places @ values) / spread
    left = values - change * places
    error = float(np.sqrt((places**2 @ left**2) * n / freedom)) / spread
    return Drift(change, error, float(freedom), n)


def _constant(name: str, effect: float, size: float, on: int, off: int) -> Constant:
    """An effect between arms none of which varies: exact for what is counted, suspect for what is measured."""
    same = abs(effect) <= TINY * size
    why = (
        f"all runs with {name} and without gave the same value: this measure does not vary here"
        if same
        else f"no run with {name} differs from the others with it, nor one without it: there is no noise to "
        "compare the difference with; vary the seed"
    )
    return Constant(name, why, 0.0 if same else effect, on, off)
