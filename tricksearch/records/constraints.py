"""Constraints: hard limits on measures, absolute or relative to the baseline, and the bounds that they come to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

from tricksearch.contract import TrialError
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record


class Rejected(TrialError):
    """The recipe breaks a bound, and no training could change that. `measures` is what was seen of it."""

    def __init__(self, reason: str, measures: Mapping[str, Any]) -> None:
        super().__init__(reason)
        self.measures = dict(measures)


@dataclass(frozen=True)
class Bound:
    """A measure that must be at most, or at least, a value; `text` is how the study wrote it."""

    measure: str
    at_most: bool
    value: float
    text: str

    def holds(self, measured: float) -> bool:
        """Whether a measured value keeps the bound."""
        return measured <= self.value if self.at_most else measured >= self.value


def broken(bounds: Iterable[Bound], measures: Mapping[str, Any]) -> str | None:
    """The first bound that these measures break, in words, or None; what was not measured breaks none.

    >>> broken([Bound("latency_ms", True, 8.0, "latency_ms <= 8")], {"latency_ms": 9.31})
    'latency_ms is 9.31, which breaks latency_ms <= 8'
    """
    for bound in bounds:
        measured = measures.get(bound.measure)
        if measured is not None and not bound.holds(measured):
            limit = "" if f"{bound.value:g}" in bound.text else f" ({bound.value:.4g} here)"
            return f"{bound.measure} is {measured:.4g}, which breaks {bound.text}{limit}"
    return None


def in_doubt(bounds: Iterable[Bound], measures: Mapping[str, Any]) -> list[str]:
    """The broken bounds, as the study wrote them, that the error of a timing may alone have broken.

    These lie within the 95 % interval of the latency, `latency_low_ms` to `latency_high_ms`; what follows from a
    latency, such as the throughput, has an interval as wide as that. A timing without an interval, of which one copy
    alone could be loaded, rules out nothing.
    """
    low, high = measures.get("latency_low_ms"), measures.get("latency_high_ms")
    factor, doubtful = sqrt(high / low) if low and high else inf, []
    for bound in bounds:
        measured = measures.get(bound.measure)
        if measured is None or not MEASURES[bound.measure].timed or bound.holds(measured):
            continue
        if bound.holds(measured / factor if bound.at_most else measured * factor):
            doubtful.append(bound.text)
    return doubtful


@dataclass(frozen=True)
class Constraint:
    """A limit as a study writes it: a measure that is at most, or at least, `factor` x the baseline's + `offset`."""

    text: str
    measure: str
    at_most: bool
    factor: float
    offset: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read one. Raises ValueError, whose message says what is wrong, and KeyError for what is no measure.

        >>> limit = Constraint.parse("latency_ms <= 0.9 * baseline + 1")
        >>> limit.measure, limit.at_most, limit.factor, limit.offset
        ('latency_ms', True, 0.9, 1.0)
        """
        match = _FORM.match(text)
        if match is None:
            raise ValueError(f"a constraint has the form 'MEASURE <= NUMBER', got '{text}'")
        measure, sense, factor, sign, offset, number = match.groups()
        if measure not in MEASURES:
            raise KeyError(measure)
        if number is not None:
            return cls(text, measure, sense == "<=", 0.0, float(number))
        shift = float(f"{sign}{offset}") if offset else 0.0
        return cls(text, measure, sense == "<=", float(factor or 1), shift)

    def bound(self, baseline: Record | None) -> Bound | None:
        """The bound as a number; None where it is relative and the baseline was not measured."""
        if not self.factor:
            return Bound(self.measure, self.at_most, self.offset, self.text)
        plain = baseline.value(self.measure) if baseline is not None else None
        if plain is None:
            return None
        return Bound(self.measure, self.at_most, self.factor * plain + self.offset, self.text)


_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_FORM = re.compile(
    rf"^\s*(\w+)\s*(<=|>=)\s*(?:(?:({_NUMBER})\s*\*\s*)?baseline(?:\s*([+-])\s*({_NUMBER}))?|({_NUMBER}))\s*$"
)


def baseline_of(records: Iterable[Record]) -> Record | None:
    """The plain baseline, where it was measured."""
    return next((record for record in records if record.phase == "baseline" and record.finished), None)


def resolved(constraints: Iterable[str], records: Sequence[Record]) -> list[Bound]:
    """The constraints as numbers, as far as these records allow."""
    baseline = baseline_of(records)
    bounds = (Constraint.parse(text).bound(baseline) for text in constraints)
    return [bound for bound in bounds if bound is not None]


def not_in_force(constraints: Iterable[str], records: Sequence[Record]) -> str:
    """Which limits reject nothing, because the baseline did not finish, in a sentence; "" where there are none."""
    tried = any(record.phase == "baseline" for record in records)
    open_limits = [text for text in constraints if Constraint.parse(text).bound(baseline_of(records)) is None]
    if not records or not open_limits:
        return ""
    them = "it is" if len(open_limits) == 1 else "they are"
    why = "did not finish" if tried else "has not been run"
    if baseline_of(records) is not None:
        why = "has no value of that measure"
    return f"Not in force: {', '.join(open_limits)}. The baseline, which {them} relative to, {why}."


def feasible(records: Sequence[Record], constraints: Iterable[str]) -> list[Record]:
    """The finished records that keep every constraint."""
    bounds = resolved(constraints, records)
    return [record for record in records if record.finished and broken(bounds, record.measures) is None]
