"""How many runs are needed: the power of designs, before any run. `sd` is that of runs, `effect` in the same unit."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

from tricksearch.verdicts.designs import Design
from tricksearch.verdicts.student import power_to_differ
from tricksearch.verdicts.verdict import MOST


def planned_power(n: int, sd: float, effect: float, tricks: int, confidence: float = 0.95) -> float:
    """The chance to show an effect in n runs of an orthogonal two-level design, at the level of Holm's first step.

    The noncentral t distribution, 0 where no degree of freedom is left. Raises ValueError where a number makes no
    sense.

    >>> round(planned_power(56, sd=0.235, effect=0.2, tricks=10), 2)
    0.59
    """
    _check_plan(sd, effect, tricks, confidence)
    return _power(effect / (2 * sd / sqrt(n)), n - tricks - 1, tricks, confidence)


def least_power(design: Design, sd: float, effect: float, confidence: float = 0.95) -> float:
    """The same for the runs of this design, and for the trick that has the least: rivals share their runs.

    Raises ValueError where a number makes no sense.
    """
    tricks = [trick for factor in design.factors for trick in factor]
    _check_plan(sd, effect, len(tricks), confidence)
    runs = [run for number in range(len(design.sizes)) for run in design.block(number, 0)]
    model = np.array([[1.0] + [trick in run for trick in tricks] for run in runs])
    if len(runs) < len(tricks) + 2:
        return 0.0
    errors = sd * np.sqrt(np.linalg.inv(model.T @ model).diagonal()[1:])
    return _power(effect / errors.max(), len(runs) - len(tricks) - 1, len(tricks), confidence)


def runs_needed(sd: float, effect: float, tricks: int, confidence: float = 0.95, power: float = 0.8) -> int:
    """The fewest runs of an orthogonal two-level design that show an effect with this power: see planned_power."""
    _check_plan(sd, effect, tricks, confidence)
    check_probability("power", power)
    return _fewest(lambda n: planned_power(n, sd, effect, tricks, confidence), tricks + 2, power)


def one_at_a_time(sd: float, effect: float, tricks: int, confidence: float = 0.95, power: float = 0.8) -> int:
    """The fewest runs that show an effect with this power, if each trick is compared with one common baseline.

    All tricks + 1 arms have the same number of runs, and share one variance; the level is that of planned_power.
    """
    _check_plan(sd, effect, tricks, confidence)
    check_probability("power", power)

    def reached(arm: int) -> float:
        return _power(effect / (sd * sqrt(2 / arm)), (tricks + 1) * (arm - 1), tricks, confidence)

    return (tricks + 1) * _fewest(reached, 2, power)


def check_probability(name: str, value: float) -> None:
    """Raise ValueError unless a probability lies between 0 and 1, both excluded."""
    if not 0 < value < 1:
        raise ValueError(f"the {name} must be between 0 and 1, got {value}")


def _power(strength: float, freedom: int, tricks: int, confidence: float) -> float:
    return float(power_to_differ(strength, freedom, (1 - confidence) / tricks)) if freedom > 0 else 0.0


def _fewest(reached: Callable[[int], float], least: int, power: float) -> int:
    high = least
    while reached(high) < power:
        if high > MOST:
            raise ValueError(f"more than {MOST} runs are needed: look for a larger effect, or make runs less noisy")
        high *= 2
    low = least - 1 if high == least else high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return high


def _check_plan(sd: float, effect: float, tricks: int, confidence: float) -> None:
    if not sd > 0 or not effect > 0 or tricks < 1:
        raise ValueError(
            f"a plan needs noise and effect above 0 and a trick, got sd {sd}, effect {effect}, {tricks} tricks"
        )
    check_probability("confidence", confidence)
