"""Which record to ship: the knee of the front, the best, the best within a limit, or one by its id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tricksearch.contract import InputError, nearest
from tricksearch.records.averages import confirmed_runs, shown
from tricksearch.records.constraints import Bound, Constraint, baseline_of, feasible
from tricksearch.records.goals import preferred
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record
from tricksearch.study.study import Study

FORMS = "write 'knee', 'best', a limit such as 'latency_ms <= 2' or 'latency_ms <= 0.9 * baseline', or a record's id"


def picked_record(records: Sequence[Record], study: Study, pick: str, folder: Path) -> Record:
    """The record of a run, in `folder`, that `pick` names.

    "knee" is the knee of the front; "best" has the best first objective of the records that keep the study's
    constraints; a limit narrows those to the records that keep it too; an id, such as "12" or "12.3", is that of any
    record that finished. Where recipes were confirmed, the choice is among them and by their fresh runs, and the record
    is one of these. Raises InputError where `pick` cannot be read or nothing satisfies it.
    """
    pick = pick.strip()
    if re.fullmatch(r"\d+(\.\d+)?", pick):
        return _by_id(records, pick, folder)
    chosen = _among(shown(records), study, pick, folder)
    if chosen.confirmed:  # the first of the fresh runs: the best of them would be chosen by its luck again
        return confirmed_runs(records)[chosen.recipe_key][0]
    return _by_id(records, chosen.id, folder)  # of several runs the first: `averaged` keeps its id


def _among(records: Sequence[Record], study: Study, pick: str, folder: Path) -> Record:
    candidates = feasible(records, study.constraints)
    if pick not in ("knee", "best"):
        bound = _bound(pick, records, folder)
        within = [record for record in candidates if _holds(bound, record)]
        if not within:
            raise _none_within(bound, candidates, folder)
        return _best(preferred(within), study)
    if not candidates:
        limits = f" and keeps {', '.join(study.constraints)}" if study.constraints else ""
        raise InputError(
            f"there is no '{pick}': none of {len(records)} records has finished{limits}",
            place=str(folder),
            remedy="let the run go on, or name a record by its id",
        )
    knee = study.goals.knee_of_means(records) if pick == "knee" else None
    return knee or _best(preferred(candidates), study)


def _by_id(records: Sequence[Record], pick: str, folder: Path) -> Record:
    record = next((record for record in records if record.id == pick), None)
    if record is None:
        raise InputError(
            f"there is no record '{pick}'",
            place=str(folder),
            remedy=nearest(pick, [other.id for other in records if other.finished]),
        )
    if not record.finished:
        raise InputError(
            f"record '{pick}' has nothing to ship, it is {record.status}: {record.reason}",
            place=str(folder),
            remedy="pick one that finished",
        )
    return record


def _bound(pick: str, records: Sequence[Record], folder: Path) -> Bound:
    try:
        bound = Constraint.parse(pick).bound(baseline_of(records))
    except ValueError:
        raise InputError(f"'{pick}' is no pick", place="--pick", remedy=FORMS) from None
    except KeyError as error:
        measure = error.args[0]
        raise InputError(f"there is no metric '{measure}'", place="--pick", remedy=nearest(measure, MEASURES)) from None
    if bound is None:
        raise InputError(
            f"'{pick}' is relative to the baseline, which did not finish",
            place=str(folder),
            remedy="write the limit as a number",
        )
    return bound


def _holds(bound: Bound, record: Record) -> bool:
    value = record.value(bound.measure)
    return value is not None and bound.holds(value)


def _none_within(bound: Bound, candidates: Sequence[Record], folder: Path) -> InputError:
    measured = [(value, record) for record in candidates if (value := record.value(bound.measure)) is not None]
    if not measured:
        return InputError(f"'{bound.measure}' was measured in no record that may be picked", place=str(folder))
    value, near = (min if bound.at_most else max)(measured, key=lambda pair: pair[0])
    limit = "" if f"{bound.value:g}" in bound.text else f" ({bound.value:.4g} here)"
    return InputError(
        f"no record keeps '{bound.text}'{limit}: of {len(measured)}, record {near.id} comes nearest, with {value:.4g}",
        place=str(folder),
        remedy="widen the limit",
    )


def _best(records: Sequence[Record], study: Study) -> Record:
    """The best first objective; of equal ones, the best second one, and so on."""

    goals = study.goals
    points = [(goals.point(record), record) for record in records]
    measured = [(point, record) for point, record in points if point is not None]
    if not measured:
        return records[0]
    signs = [1 if maximize else -1 for maximize in goals.maximize]
    gains = [[sign * value for sign, value in zip(signs, point, strict=True)] for point, _ in measured]
    return measured[max(range(len(measured)), key=gains.__getitem__)][1]
