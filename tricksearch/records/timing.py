"""What the timings of a run say of its machine, and which graphs it cannot tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record, machine_line

STILL = 1.1  # between the fastest and the slowest moment, up to which a machine is said to have held still


def machine_moved(records: Iterable[Record]) -> str:
    """How far the speed of each machine moved while latencies were taken, and what that means; "" without any.

    Every file was timed beside a yardstick, on the processor the plain net's file, whose own time tells the state that
    the machine was in.
    """
    records = [record for record in records if record.latency_ms is not None]
    machines: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for record in records:
        if record.timing:
            place = machine_line(record.hardware), record.timing.get("device", "cpu")
            machines.setdefault(place, {})[record.timing["id"]] = record.timing
    texts = [
        (f"{machine}: " if len(machines) > 1 else "") + _moved(list(moments.values()), device)
        for (machine, device), moments in machines.items()
    ]
    if texts and (earlier := sum(not record.timing for record in records)):
        texts.append(
            f"An earlier version timed {earlier:,} of the {len(records):,} records, each file for itself: do not "
            "compare their milliseconds with the others'."
        )
    return " ".join(texts)


def _moved(moments: Sequence[Mapping[str, Any]], device: str) -> str:
    """The sentence of one device of one machine."""
    yardstick = sorted(moment["yardstick_ms"] for moment in moments)
    low, high = yardstick[0], yardstick[-1]
    text = MEASURES["latency_ms"].text
    what = "a call of the plain net's file" if device == "cpu" else "a fixed product of matrices on the GPU"
    span = f"{what} took {text(low)} to {text(high)} (n = {len(yardstick):,} timings)"
    refers = sorted({round(moment["refers_to_ms"], 6) for moment in moments})
    if len(refers) > 1:
        span += f"; milliseconds refer to {len(refers)} moments, so compare ratios rather than these"
    if high <= STILL * low:
        return f"The machine held still while latencies were taken: {span}."
    state = f" They are given as of the moment when that took {text(refers[0])}." if len(refers) == 1 else ""
    return (
        f"The machine's speed moved by x {high / low:.2f} while latencies were taken: {span}. Every latency is its "
        f"ratio to that, timed in the same second.{state} In another state of the machine, or on another one, expect "
        "other milliseconds; ratios move less."
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
