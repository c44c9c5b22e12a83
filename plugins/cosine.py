"""Cosine annealing: let the learning rate fall along half a cosine, after a linear rise if wanted.

Paper: Loshchilov and Hutter 2017, arXiv 1608.03983; the rise is that of Goyal et al. 2017, arXiv 1706.02677.
Use when: the length of the training is fixed beforehand; there is no milestone to tune.
Avoid when: the training may go on beyond the length that was planned.
Cost: nothing, neither in training nor when deployed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from tricksearch import Float, Rates, Schedule, Trick, Workbench


def cosine(progress: float, final: float = 0.0, warmup: float = 0.0) -> float:
    """The multiple of the base learning rate at `progress`, the share in [0, 1) of the training that is done.

    It rises linearly from 0 to 1 over the first `warmup` share, then falls to `final`.

    >>> [round(cosine(step / 4), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    >>> [round(cosine(step / 4, final=0.1, warmup=0.5), 3) for step in range(4)]
    [0.0, 0.5, 1.0, 0.55]
    """
    if progress < warmup:
        return progress / warmup
    fallen = (progress - warmup) / (1 - warmup)
    return final + (1 - final) * (1 + math.cos(math.pi * fallen)) / 2


@dataclass(frozen=True)
class Cosine(Trick):
    """Replaces the study's schedule; the momentum stays as it is."""

    claims = "schedule"

    final: Annotated[float, Float(0.0, 0.1)] = 0.0  # learning rate at the end, multiple of the base
    warmup: Annotated[float, Float(0.0, 0.2)] = 0.0  # length of the rise, share of the training

    def schedule(self, schedule: Schedule, bench: Workbench) -> Schedule:
        """Replace the schedule."""
        return lambda progress: Rates(cosine(progress, self.final, self.warmup))
