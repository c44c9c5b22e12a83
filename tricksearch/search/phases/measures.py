"""Which measures verdicts are given on, and their values as the analysis wants them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record
from tricksearch.study.study import Study
from tricksearch.verdicts.arms import Arms
from tricksearch.verdicts.decide import decide
from tricksearch.verdicts.scale import on_scale
from tricksearch.verdicts.sequential import Looks
from tricksearch.verdicts.verdict import Estimate, Unknown, Verdict

COST = "train_seconds"


def measures_of(study: Study) -> tuple[str, ...]:
    """The study's objectives, and the time that training takes."""
    return study.objectives if COST in study.objectives else (*study.objectives, COST)


def relative(measure: str) -> bool:
    """Whether effects on it are given in percent of its value, rather than in points."""
    return not MEASURES[measure].percent


def value_of(record: Record, measure: str) -> float | None:
    """A finished record's measure; None where it was not taken, or where a logarithm of it is wanted and is none."""
    value = record.value(measure) if record.finished else None
    if value is None or not math.isfinite(value) or (relative(measure) and value <= 0):
        return None
    return value


def verdicts_on(
    study: Study,
    measure: str,
    estimates: Sequence[Estimate | Unknown],
    comparison: str,
    looks: Looks | None = None,
) -> list[Verdict]:
    """The verdicts that the study's margins and its confidence give on these effects."""
    return decide(
        estimates,
        measure=measure,
        relative=relative(measure),
        maximize=MEASURES[measure].maximize,
        margin=study.verdicts.margin(measure),
        confidence=study.verdicts.confidence,
        power=study.verdicts.power,
        comparison=comparison,
        looks=looks,
        counted=MEASURES[measure].counted,
    )


def arms_on(measure: str, arms: Mapping[str, Sequence[Record]]) -> Arms:
    """The arms of an experiment on this measure; those that differ in name alone share their runs."""
    # By their start first: a trial that takes the number of one that was lost ran later than the number says.
    moments = sorted({(record.started, record.trial) for records in arms.values() for record in records})
    rank = {moment: float(place) for place, moment in enumerate(moments)}
    return Arms(
        {
            name: [
                (rank[record.started, record.trial], on_scale([value], relative(measure))[0])
                for record in records
                if (value := value_of(record, measure)) is not None
            ]
            for name, records in arms.items()
        },
        drifts=not MEASURES[measure].counted,
    )
