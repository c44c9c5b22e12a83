"""A Gaussian process over settings: what a measure is expected to be where nothing was tried, and how sure that is.

The covariance of two settings is exp(-sum of weight x distance over the parameters): the exponential kernel for
numbers, and for options the transformed overlap kernel of Wan et al. 2021, arXiv 2102.07188. The weights, one for
each parameter, and the share of noise are those of the highest posterior density; Rasmussen and Williams 2006,
"Gaussian Processes for Machine Learning", chapters 2 and 5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]
WEIGHT, WEIGHT_SPREAD = np.log(0.3), 1.0  # prior of log(weight): mean, standard deviation
NOISE, NOISE_SPREAD = np.log(0.01), 1.5  # prior of log(noise / signal variance)
STEPS = 25  # of the fit; it starts where the last one ended


class GaussianProcess:
    """One measure. Fit it from time to time, condition it on what is known, then ask."""

    def __init__(self, dimensions: int) -> None:
        self._weights: Floats = np.full(dimensions, WEIGHT)  # logarithms, like the noise
        self._noise = float(NOISE)
        self._mean = 0.0

    def fit(self, distances: Floats, values: Floats) -> None:
        """Choose weights and noise from distances (d, n, n) and values (n,)."""
        n = len(values)
        flat, centred = distances.reshape(len(distances), -1), values - values.mean()

        def cost(point: Floats) -> tuple[float, Floats]:
            weights, noise = np.exp(point[:-1]), np.exp(point[-1])
            correlation = np.exp(-(weights @ flat)).reshape(n, n)
            try:
                lower = np.linalg.cholesky(correlation + noise * np.eye(n))
            except np.linalg.LinAlgError:
                return 1e10, np.zeros_like(point)
            inverse = cho_solve((lower, True), np.eye(n))
            solved = inverse @ centred
            variance = max(float(centred @ solved) / n, 1e-9)
            off = np.append((point[:-1] - WEIGHT) / WEIGHT_SPREAD, (point[-1] - NOISE) / NOISE_SPREAD)
            found = 0.5 * n * np.log(variance) + np.log(np.diag(lower)).sum() + 0.5 * float(off @ off)
            pull = inverse - np.outer(solved, solved) / variance
            slope = np.append(-0.5 * weights * (flat @ (pull * correlation).ravel()), 0.5 * noise * np.trace(pull))
            slope += off / np.append(np.full(len(weights), WEIGHT_SPREAD), NOISE_SPREAD)
            return float(found), slope

        start = np.append(self._weights, self._noise)
        bounds = [(-7.0, 3.0)] * len(self._weights) + [(-10.0, 1.0)]
        best = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
        self._weights, self._noise = best.x[:-1], float(best.x[-1])

    def condition(self, distances: Floats, values: Floats) -> None:
        """Take these values (n,), with the distances (d, n, n) between their settings, as what is known."""
        self._mean = float(values.mean())
        centred = values - self._mean
        noise = np.exp(self._noise)
        correlation = self._correlation(distances)
        self._lower = np.linalg.cholesky(correlation + noise * np.eye(len(values)))
        self._solved = cho_solve((self._lower, True), centred)
        self._variance = max(float(centred @ self._solved) / len(values), 1e-9)

    def predict(self, distances: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation, each (m,), where the distances to what is known are (d, m, n)."""
        correlation = self._correlation(distances)
        mean = self._mean + correlation @ self._solved
        explained = solve_triangular(self._lower, correlation.T, lower=True)
        left = np.maximum(1.0 - (explained**2).sum(axis=0), 1e-9)
        return mean, np.sqrt(self._variance * left)

    def _correlation(self, distances: Floats) -> Floats:
        return np.asarray(np.exp(-np.tensordot(np.exp(self._weights), distances, axes=1)))
