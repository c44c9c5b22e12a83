"""Means over runs."""

from __future__ import annotations

from collections.abc import Sequence

from tricksearch.verdicts.findings import Mean


def mean_of_runs(values: Sequence[float]) -> Mean:
    """The mean of independent runs, in their unit, with Student's t interval at 95 %.

    The interval covers the mean over seeds, if the runs are roughly normal. There is none, that is None, for one run,
    and for runs that are all equal: they do not tell how much others would differ. Raises ValueError for no run.

    >>> mean_of_runs([97.0, 98.0, 99.0]).value
    98.0
    """
    import numpy as np
    from scipy import special

    n = len(values)
    if n == 0:
        raise ValueError("the mean of no runs is not defined")
    mean = float(np.mean(values))
    if n == 1 or max(values) == min(values):
        return Mean(mean, None, None, n)
    half = float(special.stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(n))
    return Mean(mean, mean - half, mean + half, n)
