"""When a search ends: after so many trials, epochs, hours, or when it no longer finds anything better."""

from __future__ import annotations

from collections.abc import Sequence

from tricksearch.search.study import Study
from tricksearch.trial.averages import averaged
from tricksearch.trial.bounds import feasible
from tricksearch.trial.record import MEASURES, Record
from tricksearch.verdicts.front import hypervolume

BEHIND = 0.1  # how far behind the worst values the reference point lies, as a share of their range
MOVED = 1e-3  # the share by which the hypervolume has to grow to count as moved


def used_up(study: Study, records: Sequence[Record], seconds: float) -> str | None:
    """Why no further trial may start, in words, or None. `seconds` is the wall-clock time of all runs so far.

    The number of trials is not asked here: the loop counts those that are running too.
    """
    search = study.search
    epochs = sum(each.spent_epochs for each in records)
    if search.epochs is not None and epochs >= search.epochs:
        return f"{epochs:g} epochs were trained, of search.epochs {search.epochs:g}"
    if search.hours is not None and seconds >= 3600 * search.hours:
        return f"{seconds / 3600:.2f} hours have passed, of search.hours {search.hours:g}"
    on_gpu = sum(each.wall_seconds or 0.0 for each in records if each.hardware.get("gpus"))
    gpu_hours = on_gpu * (1.0 if search.gpus is None else search.gpus) / 3600
    if search.gpu_hours is not None and gpu_hours >= search.gpu_hours:
        return f"{gpu_hours:.2f} GPU-hours were used, of search.gpu_hours {search.gpu_hours:g}"
    if search.stall is not None and stalled(study, records, search.stall):
        return f"the hypervolume has not moved for {search.stall} trials (search.stall)"
    return None


def stalled(study: Study, records: Sequence[Record], trials: int) -> bool:
    """Whether the latest `trials` trials, by their number, moved the hypervolume by less than 0.1 %.

    Both volumes are bounded a tenth of the range behind the worst value of each objective over all records.
    """
    numbers = sorted({each.trial for each in records})
    if len(numbers) <= trials:
        return False
    names, since = study.objectives, numbers[-trials]
    maximize = [MEASURES[name].maximize for name in names]

    def points(chosen: Sequence[Record]) -> list[list[float]]:
        found = [[getattr(each, name) for name in names] for each in feasible(averaged(chosen), study.constraints)]
        return [row for row in found if None not in row]

    now = points(records)
    if not now:
        return True  # nothing keeps the constraints, and the latest trials did not change that
    worst = []
    for column, up in zip(zip(*now, strict=True), maximize, strict=True):
        margin = BEHIND * (max(column) - min(column) or 1.0)
        worst.append(min(column) - margin if up else max(column) + margin)
    before = hypervolume(points([each for each in records if each.trial < since]), maximize, worst)
    return hypervolume(now, maximize, worst) <= (1 + MOVED) * before
