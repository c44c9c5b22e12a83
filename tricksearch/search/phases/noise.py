"""What else moved the runs of a phase: a machine that drifted, trainings that collapsed. In sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record
from tricksearch.search.phases.measures import arms_on, measures_of, relative, value_of
from tricksearch.study.study import Study
from tricksearch.verdicts.collapsed import residuals_of_arms, residuals_of_design, shortfalls
from tricksearch.verdicts.effects import main_effects
from tricksearch.verdicts.scale import as_reported, on_scale
from tricksearch.verdicts.student import critical
from tricksearch.verdicts.verdict import Estimate, Unknown
from tricksearch.verdicts.words import amount, interval, noun

WIDER = 1.5  # times as wide, from which on runs far off decide an interval

Groups = Mapping[str, Sequence[Record]]
Runs = Sequence[tuple[tuple[str, ...], Record]]
Estimates = Sequence[Estimate | Unknown]


def drifts(study: Study, phase: str, groups: Groups, removed: str) -> list[str]:
    """A sentence for each measure that drifted over the runs of a phase, which `groups` has by arm.

    At the study's error rate over all measures together; `removed` says what became of it.
    """
    names = [name for name in measures_of(study) if not MEASURES[name].counted]
    sentences = []
    for name in names:
        drift = arms_on(name, groups).drift
        if drift is None:
            continue
        half = float(critical(drift.freedom, (1 - study.verdicts.confidence) / len(names))) * drift.error
        if abs(drift.change) > half:
            low, change, high = (as_reported(drift.change + side * half, relative(name)) for side in (-1, 0, 1))
            sentences.append(
                f"{noun(name).capitalize()} drifted by {amount(change, name)} {interval(low, high, name)} over the "
                f"{drift.n} runs of the {phase}, from the first to the last: {removed}"
            )
    return sentences


def collapsed_in_arms(study: Study, phase: str, groups: Groups, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """A sentence for each measure on which runs that lie far off decide the intervals of differences within pairs."""

    def estimates(name: str, left_out: Sequence[Record]) -> Estimates:
        ids = {record.id for record in left_out}
        kept = {key: [record for record in arm if record.id not in ids] for key, arm in groups.items()}
        arms = arms_on(name, kept)
        return [arms.contrast("", [(1, one), (-1, other)]) for one, other in pairs]

    def residuals(name: str) -> tuple[list[Record], np.ndarray[tuple[int], np.dtype[np.float64]]]:
        known = [[run for run in arm if value_of(run, name) is not None] for arm in groups.values()]
        flat, exact = residuals_of_arms([_better(arm, name) for arm in known])
        return [run for arm in known for run in arm], shortfalls(flat, exact)

    return _sentences(study, phase, residuals, estimates)


def collapsed_in_design(study: Study, phase: str, runs: Runs, factors: Sequence[tuple[str, ...]]) -> list[str]:
    """The same for the runs of a screen, each with the tricks that were on."""

    def estimates(name: str, left_out: Sequence[Record]) -> Estimates:
        ids = {record.id for record in left_out}
        kept = [(on, run) for on, run in runs if run.id not in ids and value_of(run, name) is not None]
        return main_effects([on for on, _ in kept], _better([run for _, run in kept], name), factors)

    def residuals(name: str) -> tuple[list[Record], np.ndarray[tuple[int], np.dtype[np.float64]]]:
        known = [(on, run) for on, run in runs if value_of(run, name) is not None]
        if not known:
            return [], np.empty(0)
        values = _better([run for _, run in known], name)
        return [run for _, run in known], shortfalls(*residuals_of_design([on for on, _ in known], values))

    return _sentences(study, phase, residuals, estimates)


def _better(runs: Sequence[Record], name: str) -> list[float]:
    """Values on the scale of the analysis, turned so that more is better."""
    sign = 1 if MEASURES[name].maximize else -1
    values = [value for run in runs if (value := value_of(run, name)) is not None]
    return [sign * value for value in on_scale(values, relative(name))]


def _sentences(
    study: Study,
    phase: str,
    residuals: Callable[[str], tuple[list[Record], np.ndarray[tuple[int], np.dtype[np.float64]]]],
    estimates: Callable[[str, Sequence[Record]], Estimates],
) -> list[str]:
    sentences = []
    for name in measures_of(study):
        runs, short = residuals(name) if not MEASURES[name].counted else ([], np.empty(0))
        far = [run for run, size in zip(runs, short, strict=True) if size > 0]
        wider = _wider(estimates(name, ()), estimates(name, far), 1 - study.verdicts.confidence) if far else 0.0
        if wider >= WIDER:
            sign = 1 if MEASURES[name].maximize else -1
            size = as_reported(-sign * float(np.median(short[short > 0])), relative(name))
            which = ", ".join(run.id for run in far[:5]) + (", ..." if len(far) > 5 else "")
            one = len(far) == 1
            sentences.append(
                f"{len(far)} of {len(runs)} runs of the {phase} (record{'' if one else 's'} {which}) "
                f"{'lies' if one else 'lie'} {amount(size, name)} off what the others lead one to expect of "
                f"{noun(name)}, and {'decides' if one else 'decide'} its intervals, which are {wider:.1f} x as wide as "
                f"without: see whether {'this training' if one else 'these trainings'} collapsed, and why."
            )
    return sentences


def _wider(with_them: Estimates, without: Estimates, rate: float) -> float:
    """How many times as wide intervals are, the median over the effects."""
    shares = [
        float(critical(wide.freedom, rate) * wide.error / (critical(narrow.freedom, rate) * narrow.error))
        for wide, narrow in zip(with_them, without, strict=True)
        if isinstance(wide, Estimate) and isinstance(narrow, Estimate)
    ]
    return median(shares) if shares else 0.0
