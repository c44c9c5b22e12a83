"""A Gaussian process over settings: what a measure is expected to be where nothing was tried, and how sure that is.

The covariance of two settings is exp(-sum of weight x distance over the parameters), where the distance of two
options is 0 or 1: the exponential kernel for numbers, and for options the transformed overlap kernel of Wan et al.
2021, arXiv 2102.07188. The weights, one for each parameter, and the share of noise are those of the highest posterior
density; Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", chapters 2 and 5.
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
FITTED = 128  # points that the weights are chosen by at most, spread evenly: the cost grows with their cube


class GaussianProcess:
    """One measure. Fit it from time to time, condition it on what is known, then ask.

    Points are rows (n, d): numbers in [0, 1], or the index of an option where `nominal`, shape (d,), says so.
    """

    def __init__(self, nominal: NDArray[np.bool_]) -> None:
        self._nominal = nominal
        self._weights: Floats = np.full(len(nominal), WEIGHT)  # logarithms, like the noise
        self._noise = float(NOISE)

    def fit(self, points: Floats, values: Floats) -> None:
        """Choose weights and noise by points (n, d) and their values (n,)."""
        chosen = np.unique(np.linspace(0, len(values) - 1, FITTED).round().astype(int))
        points, values = points[chosen], values[chosen]
        n, centred = len(values), values - values.mean()
        flat = np.stack(
            [self._distance(points, points, at).ravel() for at in range(len(self._nominal))] or [np.zeros(0)]
        )
        flat = flat.reshape(len(self._nominal), n * n)

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
            loss = 0.5 * n * np.log(variance) + np.log(np.diag(lower)).sum() + 0.5 * float(off @ off)
            pull = inverse - np.outer(solved, solved) / variance
            slope = np.append(-0.5 * weights * (flat @ (pull * correlation).ravel()), 0.5 * noise * np.trace(pull))
            slope += off / np.append(np.full(len(weights), WEIGHT_SPREAD), NOISE_SPREAD)
            return float(loss), slope

        start = np.append(self._weights, self._noise)
        bounds = [(-7.0, 3.0)] * len(self._weights) + [(-10.0, 1.0)]
        best = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
        self._weights, self._noise = best.x[:-1], float(best.x[-1])

    def condition(self, points: Floats, values: Floats) -> None:
        """Take these points (n, d) and their values (n,) as what is known."""
        self._points, self._mean = points, float(values.mean())
        correlation = self._correlation(points, points)
        correlation[np.diag_indices(len(values))] += np.exp(self._noise)
        self._lower = np.linalg.cholesky(correlation)
        self._solved = cho_solve((self._lower, True), values - self._mean)
        self._variance = max(float((values - self._mean) @ self._solved) / len(values), 1e-9)

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation at points (m, d), each (m,)."""
        correlation = self._correlation(points, self._points)
        mean = self._mean + correlation @ self._solved
        explained = solve_triangular(self._lower, correlation.T, lower=True)
        left = np.maximum(1.0 - (explained**2).sum(axis=0), 1e-9)
        return mean, np.sqrt(self._variance * left)

    def _correlation(self, one: Floats, other: Floats) -> Floats:
        total = np.zeros((len(one), len(other)))
        for at, weight in enumerate(np.exp(self._weights)):
            total += weight * self._distance(one, other, at)
        return np.asarray(np.exp(-total))

    def _distance(self, one: Floats, other: Floats, at: int) -> Floats:
        left, right = one[:, at, None], other[None, :, at]
        return np.asarray(left != right if self._nominal[at] else np.abs(left - right), dtype=float)
