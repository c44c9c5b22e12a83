"""OneCycle: raise the learning rate to a peak, then lower it to almost nothing; momentum the other way.

Paper: Smith and Topin 2018, arXiv 1708.07120; cosine-shaped as in fastai, Howard and Gugger 2020, 2002.04688.
Use when: few epochs are to go a long way, with a net that has batch normalisation.
Avoid when: the base learning rate is already near the largest that converges: lower `peak` then.
Cost: nothing, neither in training nor when deployed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from tricksearch import Float, Rates, Schedule, Trick, Workbench

START = 1 / 25  # learning rates at the start and at the end, as shares of the peak and of the start: fastai's
END = 1e-4


def anneal(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` to `end` as `share` goes from 0 to 1.

    >>> [round(anneal(1.0, 3.0, share), 2) for share in (0.0, 0.5, 1.0)]
    [1.0, 2.0, 3.0]
    """
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def onecycle(progress: float, peak: float, rise: float, low: float, high: float) -> Rates:
    """The rates at `progress`, the share in [0, 1) of the training that is done.

    The learning rate, a multiple of the base, rises from `peak` / 25 to `peak` over the first share, `rise`,
    and falls to `peak` / 250,000; the momentum falls from `high` to `low` and rises again.

    >>> onecycle(0.3, peak=3.0, rise=0.3, low=0.85, high=0.95)
    Rates(lr=3.0, momentum=0.85)
    """
    start = peak * START
    if progress < rise:
        share = progress / rise
        return Rates(anneal(start, peak, share), anneal(high, low, share))
    share = (progress - rise) / (1 - rise)
    return Rates(anneal(peak, start * END, share), anneal(low, high, share))


@dataclass(frozen=True)
class OneCycle(Trick):
    """Replaces the study's schedule of learning rate and momentum."""

    claims = "schedule"

    peak: Annotated[float, Float(1.0, 10.0, log=True)] = 3.0  # learning rate at the peak, multiple of the base
    rise: Annotated[float, Float(0.1, 0.5)] = 0.3  # length of the rise, share of the training
    momentum_low: Annotated[float, Float(0.0, 0.99, search=False)] = 0.85  # momentum at the peak
    momentum_high: Annotated[float, Float(0.0, 0.99, search=False)] = 0.95  # momentum at the start and the end

    def schedule(self, schedule: Schedule, bench: Workbench) -> Schedule:
        """Replace the schedule."""
        return lambda progress: onecycle(progress, self.peak, self.rise, self.momentum_low, self.momentum_high)
