"""What the timings of a run say of its machine, and which graphs it cannot tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record

STILL = 1.1  # between the fastest and the slowest moment, up to which a machine is said to have held still


def machine_moved(records: Iterable[Record]) -> str:
    """How far the machine's speed moved while latencies were taken, and what that means, in words; "" without any.

    The plain net's file was timed beside every other, so its own time tells the state that the machine was in.
    """
    moments = {record.timing["id"]: record.timing for record in records if record.timing}
    if not moments:
        return ""
    plain = sorted(moment["baseline_ms"] for moment in moments.values())
    low, high = plain[0], plain[-1]
    text = MEASURES["latency_ms"].text
    span = f"a call of the plain net's file took {text(low)[:-3]} to {text(high)}"
    n = f"n = {len(plain):,} timings"
    if high <= STILL * low:
        return f"The machine held still while latencies were taken: {span} ({n})."
    refers = sorted({round(moment["refers_to_ms"], 6) for moment in moments.values()})
    state = f" They are given as of the moment when that call took {text(refers[0])}." if len(refers) == 1 else ""
    return (
        f"The machine's speed moved by x {high / low:.2f} while latencies were taken: {span} ({n}). Every latency is "
        f"its ratio to that file, timed in the same second.{state} In another state of the machine, or on another one, "
        "expect other milliseconds; ratios move less."
    )


def with_error(record: Record, name: str) -> str:
    """A record's measure with its unit and, where it is timed and that is known, half of its 95 % interval."""
    measure, low, high = MEASURES[name], record.latency_low_ms, record.latency_high_ms
    value = measure.text(record.value(name))
    if name != "latency_ms" or not record.latency_ms or low is None or high is None:
        return value
    return f"{value} ±{50 * (high - low) / record.latency_ms:.1f} %"


def equally_fast(means: Sequence[Record]) -> list[list[Record]]:
    """Recipes of different graphs whose order this machine cannot tell, the most accurate of each graph."""
    groups: dict[tuple[str, ...], dict[str, Record]] = {}
    for record in sorted(means, key=lambda mean: -(mean.accuracy or 0.0)):
        tie = record.timing.get("tie")
        if tie:
            groups.setdefault(tuple(tie), {}).setdefault(record.graph, record)
    return [list(group.values()) for group in groups.values() if len(group) > 1]


def ties_line(means: Sequence[Record]) -> str:
    """One sentence for each group of recipes that are equally fast here; "" where there is none."""
    groups = [", ".join(record.id for record in group) for group in equally_fast(means)]
    return " ".join(f"Equally fast here, as far as their interval tells: {group}." for group in groups)
