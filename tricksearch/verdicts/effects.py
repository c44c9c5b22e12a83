"""Effects of tricks, estimated from the runs of a design: of all tricks at once, or of pairs. For arms see arms.py.

Values are on the scale of the analysis (see Estimate and scale.py). Unequal variances are allowed for throughout.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tricksearch.verdicts.designs import Factors
from tricksearch.verdicts.verdict import Constant, Estimate, Unknown

Floats = NDArray[np.float64]

SPARE = 4  # degrees of freedom that a richer model leaves for the noise, at least
MOST_PRODUCTS = 64
TINY = 1e-9  # of what is 1 or of ordinary size: no more than rounding


def main_effects(
    runs: Sequence[Collection[str]], values: Sequence[float], factors: Factors, crossed: Collection[str] = ()
) -> list[Estimate | Unknown]:
    """Each trick against its factor's off, averaged over all other tricks; in the order of the factors.

    `runs` are the tricks that were on in each run that has a value. Least squares on main effects. Errors are the
    HC2 of MacKinnon & White (1985) with the degrees of freedom of Bell & McCaffrey (2002), as Imbens & Kolesar (2016)
    recommend: they hold for unequal variances and for runs that are missing. Pairs that act on each other, and that
    the model leaves out, count as noise; those among `crossed` are put into the model, as far as the runs allow, where
    a measure varies little but for them. Raises ValueError where runs and values differ in number, or one is not
    finite.
    """
    runs, data = _checked(runs, values)
    on = {trick: np.array([trick in run for run in runs], dtype=float) for factor in factors for trick in factor}
    off = {trick: int(len(data) - sum(on[rival].sum() for rival in factor)) for factor in factors for trick in factor}
    effects: dict[str, Estimate | Unknown] = {}
    for trick, column in on.items():
        if not column.any():
            effects[trick] = Unknown(trick, f"no run with {trick} has a result: see why they failed, or run some")
        elif not off[trick]:
            effects[trick] = Unknown(
                trick, f"no run without {trick} and its rivals has a result: run some to compare with"
            )
    kept = [trick for trick in on if trick not in effects]
    matrix = np.column_stack([on[trick] for trick in kept]) if kept else np.empty((len(data), 0))
    fitted = _fit(kept, matrix, data, off)
    for most in (len(kept), 2):  # all their interactions, or the pairs alone
        extra = _interactions({trick: on[trick] for trick in kept if trick in crossed}, factors, most)
        if extra.shape[1] and len(data) - len(kept) - extra.shape[1] > SPARE:
            richer = _fit(kept, matrix, data, off, extra)
            if all(isinstance(effect, Estimate | Constant) for effect in richer.values()):
                fitted = richer
                break
    effects |= fitted
    return [effects[trick] for trick in on]


def _interactions(on: Mapping[str, Floats], factors: Factors, most: int) -> Floats:
    """Products of the centred columns of up to `most` tricks, of different factors; shape (n, products).

    Centred, so that a trick's own effect stays that at the average of the others.
    """
    factor_of = {trick: at for at, factor in enumerate(factors) for trick in factor}
    subsets = [
        subset
        for size in range(2, min(most, len(on)) + 1)
        for subset in combinations(on, size)
        if len({factor_of[trick] for trick in subset}) == size
    ]
    if not subsets or len(subsets) > MOST_PRODUCTS:
        return np.empty((len(next(iter(on.values()), np.empty(0))), 0))
    return np.column_stack([np.prod([on[trick] - on[trick].mean() for trick in subset], axis=0) for subset in subsets])


def pair_effects(
    runs: Sequence[Collection[str]], values: Sequence[float], factors: Factors
) -> list[Estimate | Unknown]:
    """How much more, or less, each pair of tricks does together than the sum of both: named "a + b".

    It is the effect of a with b on, minus that with b off; above 0 is synergy where more is better. From a model
    of main effects and of all pairs of different factors, errors as in `main_effects`, which see for `runs` and for
    what it raises.
    """
    runs, data = _checked(runs, values)
    on = {trick: np.array([trick in run for run in runs], dtype=float) for factor in factors for trick in factor}
    pairs = {
        f"{one} + {two}": on[one] * on[two]
        for first, second in combinations(factors, 2)
        for one in first
        for two in second
    }
    off = {name: int(len(data) - column.sum()) for name, column in pairs.items()}
    columns = on | pairs
    present = [name for name, column in columns.items() if column.any()]
    matrix = np.column_stack([columns[name] for name in present]) if present else np.empty((len(data), 0))
    effects = _fit(present, matrix, data, off | dict.fromkeys(on, 0))
    return [
        effects[name]
        if name in effects
        else Unknown(name, f"no run with both {name.replace(' + ', ' and ')} has a result")
        for name in pairs
    ]


def _fit(
    names: list[str], on: Floats, data: Floats, off: dict[str, int], extra: Floats | None = None
) -> dict[str, Estimate | Unknown]:
    """Estimates of the columns `on`, shape (n, names), 1 where a trick or a pair is on.

    `extra`, shape (n, any), are columns of the model whose effects are not returned.
    """
    effects: dict[str, Estimate | Unknown] = {}
    n = len(data)
    if not names:
        return effects
    same = n > 0 and np.ptp(data) <= TINY * TINY * abs(data).max()
    unvaried = f"all {n} runs gave the same value: this measure does not vary here"
    model = np.column_stack((np.ones(n), on)) if extra is None else np.column_stack((np.ones(n), on, extra))
    left, singular, right = np.linalg.svd(model, full_matrices=n < model.shape[1])
    rank = int((singular > TINY * singular[0]).sum())
    if n <= rank:
        why = f"{n} runs cannot tell {len(names)} effects from noise: at least {len(names) + 2} are needed"
        return {name: Unknown(name, unvaried if same else why) for name in names}
    left, null = left[:, :rank], right[rank:]
    solve = (right[:rank].T / singular[:rank]) @ left.T  # (1 + names, n)
    residual_maker = np.eye(n) - left @ left.T
    spare = residual_maker.diagonal().copy()  # 1 - leverage
    alone = spare < TINY  # a run that the fit goes through exactly says nothing of the noise
    spare[alone] = 1.0
    residuals = residual_maker @ data
    squares = solve**2
    variances = squares @ (residuals**2 / spare)
    mixed = residual_maker**2 / np.outer(spare, spare)
    freedoms = squares[:, ~alone].sum(axis=1) ** 2 / np.maximum(((squares @ mixed) * squares).sum(axis=1), 1e-300)
    coefficients = solve @ data
    noise = TINY * np.sqrt(squares.sum(axis=1)) * np.std(data)
    for at, name in enumerate(names, 1):
        count = int(on[:, at - 1].sum())
        tied = _tied(null, at)
        if tied:
            aliases = _list([names[other - 1] for other in tied if 0 < other <= len(names)]) or "all runs"
            why = f"{name} cannot be told from {aliases}: these never varied independently; run more runs where they do"
            effects[name] = Unknown(name, why)
        elif same:
            effects[name] = Constant(name, unvaried, 0.0, count, off[name])
        elif (squares[at, alone] > TINY * squares[at].max()).any():
            why = f"the effect of {name} rests on a single run, which does not show how much runs differ: run more"
            effects[name] = Unknown(name, why)
        elif np.sqrt(variances[at]) <= noise[at]:
            why = f"no noise is left around the effect of {name}, so none can be compared with it: vary the seed"
            effects[name] = Constant(name, why, float(coefficients[at]), count, off[name])
        else:
            error, freedom = float(np.sqrt(variances[at])), float(freedoms[at])
            others = n - count - off[name]
            effects[name] = Estimate(name, float(coefficients[at]), error, freedom, count, off[name], others)
    return effects


def _tied(null: Floats, at: int) -> list[int]:
    """The columns that can stand in for column `at`, itself left out; none where it is estimable."""
    if not len(null) or abs(null[:, at]).max() < TINY:
        return []
    shared = abs(null.T @ null[:, at])  # the projection onto the null space
    return [int(other) for other in np.flatnonzero(shared > 1e-6) if other != at]


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else ""


def _checked(runs: Sequence[Collection[str]], values: Sequence[float]) -> tuple[list[frozenset[str]], Floats]:
    data = _finite(values)
    if len(runs) != len(data):
        raise ValueError(f"each run needs a value: got {len(runs)} runs and {len(data)} values")
    return [frozenset(run) for run in runs], data


def _finite(values: Any) -> Floats:
    data = np.asarray(values, dtype=np.float64)
    if not np.isfinite(data).all():
        raise ValueError("a value is not finite: leave out what was not measured")
    return data
