"""The chance of a recipe to be on the front of those that were confirmed, from fresh runs alone.

What a search saw is no ground for such a chance: the recipes were chosen because they looked good, so what was seen
flatters just them (told 80 to 95 %, they were on the true front 20 to 44 times in 100). Fresh runs had no part in the
choice. Each mean is drawn towards the mean of all by as much as the noise tells (empirical Bayes: Efron & Morris 1975),
and what is not known of noise and spread is drawn as well. Recipes that share a graph share one latency.

The chances that come of it are right where they are high; below, recipes that were chosen for being alike are nearer to
each other than their means tell: what would be told as 30 % is true in 59 to 71 of 100, 70 % in 87 to 91, 85 % in 95.
So a chance below SURE is not given as a number: the recipe's place is in doubt. `python -m benchmarks chances` shows
told and true shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 4000
SURE = 0.9  # a chance from which on it is as true as it is told
FEWEST = 4  # units from which on their spread tells how far their means lie apart by chance


@dataclass(frozen=True)
class Objective:
    """An objective's fresh runs, on the scale of the analysis: of each unit, and which unit each recipe is of.

    A unit is what has one true value: a recipe, or for what the stopwatch tells a graph.
    """

    runs: Mapping[str, Sequence[float]]
    units: Sequence[str]  # of each recipe, in their order
    maximize: bool
    margin: float  # on the same scale


def chances(objectives: Sequence[Objective], seed: int = 0) -> list[float]:
    """Of each recipe, how probable it is that it is on the front of these recipes.

    It is off the front where another recipe is better by the margin on one objective, and not worse on any: what is
    equal within the margins stays. Raises ValueError where a unit has no run.
    """
    rng = np.random.default_rng(seed)
    drawn = np.stack([_drawn(objective, rng) for objective in objectives], axis=-1)  # (draws, recipes, objectives)
    margins = np.array([objective.margin for objective in objectives])
    on = np.ones(drawn.shape[:2], dtype=bool)
    for other in range(drawn.shape[1]):
        ahead = drawn[:, [other], :] - drawn
        on &= ~((ahead >= 0).all(axis=-1) & (ahead >= margins).any(axis=-1))
    return [float(share) for share in on.mean(axis=0)]


def _drawn(objective: Objective, rng: np.random.Generator) -> Floats:
    """Draws (draws, recipes) of the true values, more being better."""
    runs = [np.asarray(values, dtype=np.float64) for values in objective.runs.values()]
    if not all(len(values) for values in runs):
        raise ValueError("a chance needs a run of each recipe: leave out those that have none")
    means, counts = np.array([values.mean() for values in runs]), np.array([len(values) for values in runs])
    squares, freedom = sum(float(((values - values.mean()) ** 2).sum()) for values in runs), int((counts - 1).sum())
    truth = np.broadcast_to(means, (DRAWS, len(means)))
    if freedom and squares > 0:
        noise = squares / rng.chisquare(freedom, (DRAWS, 1)) / counts
        kept, centre = np.ones_like(noise), np.full((DRAWS, 1), means.mean())
        if len(means) >= FEWEST:
            spread = means.var(ddof=1) * (len(means) - 1) / rng.chisquare(len(means) - 1, (DRAWS, 1))
            kept = np.clip(1 - noise / spread, 0.0, 1.0)
            centre = centre + np.sqrt(spread / len(means)) * rng.standard_normal((DRAWS, 1))
        truth = centre + kept * (means - centre) + np.sqrt(kept * noise) * rng.standard_normal(noise.shape)
    place = {unit: at for at, unit in enumerate(objective.runs)}
    values = truth[:, [place[unit] for unit in objective.units]]
    return values if objective.maximize else -values
