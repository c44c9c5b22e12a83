"""Verdicts from estimates: helps, hurts, equivalent or undecided, at one error rate over all tricks and all of these.

Each trick is tested for a difference (its effect is not 0) and for equivalence (two one-sided tests, Schuirmann 1987:
the effect is smaller than the margin, either way). The null hypotheses of both cannot hold together, as an effect of 0
is smaller than the margin. A wrong verdict is any that says helps or hurts of a trick that does nothing, or equivalent
of one whose effect is as large as the margin; `confidence` bounds the chance of one or more wrong verdicts of either
kind. Holm's (1979) test of the differences beside another of the equivalences would not: at the worst it errs twice
as often. So both are one step-down test: Holm's, with weights and with Shaffer's (1986) count of how many hypotheses
can still be true together; its validity, under any dependence, is the sequential rejection principle of Goeman & Solari
(2010). A test for equivalence weighs a fifth of one for a difference: it gets a fifth of the level, and takes a little
from the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tricksearch.verdicts.planning import check_probability
from tricksearch.verdicts.scale import as_reported, margin_on_scale
from tricksearch.verdicts.sequential import Looks
from tricksearch.verdicts.student import critical, power_to_differ, power_to_match, two_sided
from tricksearch.verdicts.verdict import MOST, UNDECIDED, Constant, Estimate, Says, Unknown, Verdict

Floats = NDArray[np.float64]

WEIGHT = 0.2  # of a test for equivalence, that of a test for a difference being 1


@dataclass(frozen=True)
class _Rules:
    """What the verdicts on one measure in one comparison are decided by; see `decide`."""

    measure: str
    relative: bool
    maximize: bool
    margin: float
    confidence: float
    power: float
    comparison: str
    looks: Looks

    @property
    def limit(self) -> float:
        """The margin on the scale of the analysis."""
        return margin_on_scale(self.margin, self.relative)

    def outcome(self, differs: bool, equivalent: bool, effect: float) -> Says:
        """The verdict in a word, from what was shown of the effect."""
        if equivalent:
            return "equivalent"
        if differs:
            return "helps" if (effect > 0) == self.maximize else "hurts"
        return "undecided"


@dataclass(frozen=True)
class _StepDown:
    """The result of the step-down test for each trick, each of shape (tricks,)."""

    differs: NDArray[np.bool_]
    equivalent: NDArray[np.bool_]
    adjusted: Floats  # p-value of no difference, adjusted over everything that is tested
    level: Floats  # at which the trick's difference was tested: its interval's


def decide(
    estimates: Sequence[Estimate | Unknown],
    *,
    measure: str,
    relative: bool,
    maximize: bool,
    margin: float,
    confidence: float = 0.95,
    power: float = 0.8,
    comparison: str,
    looks: Looks | None = None,
    counted: bool = False,
) -> list[Verdict]:
    """A verdict for each estimate, in their order. What cannot be estimated is undecided, and does not count as tested.

    `relative`: the estimates are logarithms, and effects, bounds and margin in percent; else all are in the measure's
    unit. `looks`: this look and those before it, if the runs may be stopped by what they show. `counted`: the measure
    is counted, so that an effect without any noise is exact, and needs no test. An effect that is shown
    and smaller than the margin is equivalent. The adjusted interval has the level at which the trick's difference was
    tested: it excludes 0 exactly where a difference is shown, and holds with more than the confidence by itself. That
    all of them hold together is not promised: step-down tests have no such intervals that would also tell sizes
    (Guilbaud 2008).
    Raises ValueError for a margin of 0 or less, or where confidence or power are not between 0 and 1.
    """
    check_probability("confidence", confidence)
    check_probability("power", power)
    rules = _Rules(measure, relative, maximize, margin, confidence, power, comparison, looks or Looks())
    limit = rules.limit
    tested = iter(_tested([estimate for estimate in estimates if isinstance(estimate, Estimate)], rules, limit))
    return [
        next(tested) if isinstance(estimate, Estimate) else _untested(estimate, rules, limit, counted)
        for estimate in estimates
    ]


def _tested(estimates: Sequence[Estimate], rules: _Rules, limit: float) -> list[Verdict]:
    """The verdicts on estimates, in their order, by one test over all of them."""
    if not estimates:
        return []
    effects, errors, freedoms = (
        np.array([getattr(estimate, key) for estimate in estimates]) for key in ("effect", "error", "freedom")
    )
    rate = 1 - rules.confidence
    test = _step_down(effects, errors, freedoms, limit, rate, rules.looks)
    adjusted = errors * critical(freedoms, rules.looks.nominal(test.level))
    alone = errors * critical(freedoms, rate)
    p = two_sided(effects / errors, freedoms)
    runs = np.array([estimate.on + estimate.off for estimate in estimates])
    design_runs = runs + np.array([estimate.others for estimate in estimates])
    # The levels at which the step-down test begins.
    levels = rate / len(estimates), rate * WEIGHT / (len(estimates) - 1 + WEIGHT)
    powers = power_to_differ(limit / errors, freedoms, rules.looks.nominal(levels[0]))
    differing = power_to_differ(limit / errors, freedoms, levels[0]) < rules.power
    missing = _missing_runs(limit / errors, freedoms, design_runs, rules.power, levels, differing)
    verdicts = []
    for at, estimate in enumerate(estimates):
        says = rules.outcome(bool(test.differs[at]), bool(test.equivalent[at]), estimate.effect)
        bounds = (estimate.effect + side * half[at] for half in (adjusted, alone) for side in (-1, 1))
        low, high, low_alone, high_alone = (as_reported(float(bound), rules.relative) for bound in bounds)
        verdicts.append(
            Verdict(
                trick=estimate.name,
                measure=rules.measure,
                comparison=rules.comparison,
                says=says,
                effect=as_reported(estimate.effect, rules.relative),
                low=low,
                high=high,
                low_alone=low_alone,
                high_alone=high_alone,
                p=float(p[at]),
                p_adjusted=float(test.adjusted[at]),
                n=int(runs[at]),
                power=float(powers[at]),
                more=int(missing[at]) if says == UNDECIDED else None,
                more_for=("difference" if differing[at] else "equivalence") if says == UNDECIDED else None,
                margin=rules.margin,
            )
        )
    return verdicts


def _step_down(effects: Floats, errors: Floats, freedoms: Floats, limit: float, rate: float, looks: Looks) -> _StepDown:
    """The step-down test, hypothesis after hypothesis, the one that is refuted at the smallest error rate first."""
    from scipy import special

    count = len(effects)
    inside = (limit - abs(effects)) / errors  # the nearer limit's test has the larger p-value of the two
    p = np.array(
        [
            looks.level(two_sided(effects / errors, freedoms)),
            # A one-sided test spends what each side of a two-sided one of twice the level does.
            looks.level(np.minimum(1.0, 2 * special.stdtr(freedoms, -inside))) / 2,
        ]
    )
    opened, needed, levels = np.ones((2, count), dtype=bool), np.zeros((2, count)), np.zeros(count)
    least = 0.0
    for _ in range(2 * count):
        # Of each trick one hypothesis at most is true: the worst is that it is the heavier one that is still open.
        worst = np.where(opened[0], 1.0, np.where(opened[1], WEIGHT, 0.0))
        total = worst.sum()
        rates = np.where(opened, p * np.array([np.full(count, total), (total - worst + WEIGHT) / WEIGHT]), np.inf)
        kind, at = np.unravel_index(int(rates.argmin()), rates.shape)
        least = max(least, float(rates[kind, at]))
        if least > rate and not levels.all():
            levels[levels == 0] = rate / total
        if kind == 0 and not levels[at]:
            levels[at] = rate / total
        needed[kind, at] = least
        opened[kind, at] = False
    return _StepDown(needed[0] <= rate, needed[1] <= rate, np.minimum(1.0, needed[0]), levels)


def _untested(estimate: Unknown, rules: _Rules, limit: float, counted: bool) -> Verdict:
    """The verdict without a test: undecided, but for what is counted, where an effect without any noise is exact."""
    says: Says = "undecided"
    effect, n, why = None, 0, estimate.why
    if counted and isinstance(estimate, Constant):
        says = rules.outcome(True, abs(estimate.effect) < limit, estimate.effect)
        effect, n, why = as_reported(estimate.effect, rules.relative), estimate.on + estimate.off, ""
    return Verdict(
        trick=estimate.name,
        measure=rules.measure,
        comparison=rules.comparison,
        says=says,
        effect=effect,
        low=None,
        high=None,
        low_alone=None,
        high_alone=None,
        p=None,
        p_adjusted=None,
        n=n,
        power=None,
        more=None,
        more_for=None,
        margin=rules.margin,
        why=why,
    )


def _missing_runs(
    strength: Floats,
    freedoms: Floats,
    runs: NDArray[Any],
    power: float,
    levels: tuple[float, float],
    differing: NDArray[np.bool_],
) -> NDArray[Any]:
    """How many more runs of the design each trick needs; 0 where these are enough, if they are looked at as the last.

    For the power to show a difference as large as the margin, at the first of the levels, where `differing`; else to
    show that a trick that does nothing is equivalent, at the second.
    """

    def fewest(of: Callable[[Any, Any, Any], Floats], level: float, at: NDArray[np.bool_]) -> NDArray[Any]:
        return _fewest(
            lambda more: of(strength[at] * np.sqrt(1 + more / runs[at]), freedoms[at] + more, level) >= power
        )

    missing = np.zeros(len(runs), dtype=int)
    for of, level, at in ((power_to_differ, levels[0], differing), (power_to_match, levels[1], ~differing)):
        if at.any():
            missing[at] = fewest(of, level, at)
    return missing


def _fewest(enough: Callable[[Any], NDArray[np.bool_]]) -> NDArray[Any]:
    """For each trick the fewest runs that are enough, or MOST."""
    none = enough(0)
    low, high = np.zeros(len(none), dtype=int), np.ones(len(none), dtype=int)
    while not enough(high).all() and high.max() < MOST:
        high *= 2
    while (high - low > 1).any():
        middle = (low + high) // 2
        fits = enough(middle)
        low, high = np.where(fits, low, middle), np.where(fits, middle, high)
    return np.where(none, 0, np.minimum(high, MOST))
