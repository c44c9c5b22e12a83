"""The verdict on one trick and one measure, and the estimate that it is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MOST = 10_000_000  # runs; more are not feasible
HELPS, HURTS, EQUIVALENT, UNDECIDED = "helps", "hurts", "equivalent", "undecided"
CONFIRMED = "confirmed"  # the comparison of a confirmed recipe with the plain baseline


def recipe_name(record: str) -> str:
    """What a verdict on a whole recipe calls it, by the id of its record."""
    return f"record {record}"


Says = Literal["helps", "hurts", "equivalent", "undecided"]


@dataclass(frozen=True)
class Estimate:
    """An effect with its standard error and the degrees of freedom of that error, on the scale of the analysis.

    That scale is the measure's own for percentages, and its natural logarithm for every other measure.
    """

    name: str
    effect: float
    error: float
    freedom: float
    on: int  # runs with the trick
    off: int  # runs that it is compared with
    others: int = 0  # runs of the same design that are neither: those with its rivals


@dataclass(frozen=True)
class Unknown:
    """An effect that cannot be estimated, and the sentence that says why and what to change."""

    name: str
    why: str


@dataclass(frozen=True)
class Constant(Unknown):
    """An effect without any noise: exact for what is counted, suspect for what is measured."""

    effect: float  # as that of an Estimate
    on: int
    off: int


@dataclass(frozen=True)
class Verdict:
    """The verdict on one trick, on one measure, in one comparison.

    Effect and bounds are points for percentages, and percent of the value for every other measure; their sign is
    that of the measure's change, not of its merit. Bounds are None where there is no interval to give: where nothing
    can be estimated, and where the effect is exact.
    """

    trick: str  # or "a + b" for an interaction
    measure: str
    comparison: str  # one of COMPARISONS in words.py: "screen", "leave_one_out"...
    says: Says
    effect: float | None
    low: float | None  # adjusted over the tricks: excludes 0 exactly where the effect is shown
    high: float | None
    low_alone: float | None  # the interval of this effect by itself
    high_alone: float | None
    p: float | None  # of no effect, two-sided
    p_adjusted: float | None  # step-down as Holm 1979, over the tricks of this measure and comparison: see decide.py
    n: int  # runs behind it, of both arms
    power: float | None  # to show an effect as large as the margin, with this n and this noise, at this look
    # Runs of the whole design that are missing for the power asked for, at a last look; MOST at most; None: decided.
    more: int | None
    more_for: Literal["difference", "equivalence"] | None  # what these could show; the latter if it does nothing
    margin: float
    why: str = ""  # where there is no interval: why, and what to change
