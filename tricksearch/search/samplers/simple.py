"""Samplers without a model: random, Pareto local search, quasi-random, grid."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tricksearch.search.samplers.base import GUIDED_DRAWS, OwnSampler
from tricksearch.search.space.layout import Rows, Setting


class RandomSearch(OwnSampler):
    """Uniformly at random; Bergstra and Bengio 2012."""

    def propose(self, number: int, random: np.random.Generator) -> Iterator[Setting]:
        """Random settings."""
        return self._settings(self.layout.random(GUIDED_DRAWS, random))


class LocalSearch(OwnSampler):
    """Pareto local search: a member of the front with one parameter changed; Paquete et al. 2004."""

    def propose(self, number: int, random: np.random.Generator) -> Iterator[Setting]:
        """Neighbours of front members; random settings where there is no front."""
        return self._settings(self.neighbours(random))

    def neighbours(self, random: np.random.Generator) -> Rows:
        """Members of the front, drawn at random, each with one parameter changed."""
        members = self.best()
        if not members:
            return self.layout.random(GUIDED_DRAWS, random)
        rows = self.rows(members)
        return self.layout.changed(rows[random.integers(0, len(rows), 5 * GUIDED_DRAWS)], 1, random)


class QuasiRandom(OwnSampler):
    """The scrambled sequence of Sobol, which covers the space more evenly than random draws; Sobol 1967, Owen 1998."""

    def propose(self, number: int, random: np.random.Generator) -> Iterator[Setting]:
        """The number-th point of the sequence."""
        from scipy.stats import qmc

        sequence = qmc.Sobol(max(1, len(self.layout)), rng=np.random.default_rng(self.seed))
        if number:
            sequence.fast_forward(number)
        point = iter(sequence.random(1)[0])
        yield self.layout.walk(lambda parameter: parameter.at(float(next(point))))


class GridSearch(OwnSampler):
    """Every combination of options, and of three values of each range, in a fixed order that soon spreads widely."""

    def ask(self, number: int) -> Iterator[Setting]:
        """From the number-th point of the grid on, round to where it began."""
        total, nth = self.layout.grid()
        step = _coprime(total)
        return (nth((self.seed + (number + ahead) * step) % total) for ahead in range(total))


def _coprime(total: int) -> int:
    """A step that visits every number below `total` once, and far apart: near the golden section of it."""
    step = max(1, round(total * 0.618))
    while np.gcd(step, total) != 1:
        step += 1
    return step
