"""The scale of the analysis: percentages as they are, every other measure by its natural logarithm."""

from __future__ import annotations

from collections.abc import Sequence
from math import expm1, inf, log, log1p


def on_scale(values: Sequence[float], relative: bool) -> list[float]:
    """Values on the scale of the analysis: a measure's effects are relative where doubling means the same anywhere.

    Raises ValueError for a value of 0 or less where a logarithm is to be taken.
    """
    if not relative:
        return [float(value) for value in values]
    if any(not value > 0 for value in values):
        raise ValueError(f"a relative effect needs values above 0, got {min(values)}: leave out what was not measured")
    return [log(value) for value in values]


def as_reported(effect: float, relative: bool) -> float:
    """An effect as it is reported: points for percentages, percent of the value for every other measure.

    Infinite where a bound of a very poor estimate is beyond all floating-point numbers.

    >>> round(as_reported(log(1.05), relative=True), 6)
    5.0
    """
    if not relative:
        return effect
    try:
        return 100 * expm1(effect)
    except OverflowError:
        return inf


def margin_on_scale(margin: float, relative: bool) -> float:
    """The margin, in points or in percent, on the scale of the analysis; a relative one is as wide either way.

    Raises ValueError for a margin of 0 or less.
    """
    if not margin > 0:
        raise ValueError(
            f"the margin is {margin:g}, and nothing could ever be shown to be equivalent: "
            "give the smallest difference that would matter, which is above 0"
        )
    return log1p(margin / 100) if relative else margin
