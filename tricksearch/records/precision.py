"""Sentences on the arithmetic of deployables: which form was chosen and why, and where fewer bits cost time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record

SHOWN = 5  # records that a sentence names


def forms(records: Iterable[Record]) -> list[str]:
    """One sentence for each form that a trick chose by what it met, with the records that have it."""
    ids: dict[str, list[str]] = {}
    for record in records:
        if record.finished and record.form:
            ids.setdefault(record.form, []).append(record.id)
    return [f"{form[0].upper()}{form[1:]} ({_named(those)})." for form, those in ids.items()]


def float_sibling(record: Record, records: Sequence[Record]) -> Record | None:
    """The float form of a quantized record: of the same training and with the same tricks, but for the quantizing one.

    None where the record is not quantized, or its float form was not measured.
    """
    if record.precision != "quantized":
        return None
    for other in records:
        same = other.trial == record.trial and other.seed == record.seed and other.phase == record.phase
        if not (same and other.finished and other.precision == "fp32" and other.latency_ms is not None):
            continue
        missing = record.tricks.keys() - other.tricks.keys()
        if len(missing) == 1 and other.tricks == {name: record.tricks.get(name) for name in other.tricks}:
            return other
    return None


def slower_than_float(records: Sequence[Record]) -> str:
    """The sentence on quantized records whose interval of latency lies above that of their float form; or none."""
    worst: list[tuple[float, str]] = []
    compared = 0
    for record in records:
        if not record.finished or (plain := float_sibling(record, records)) is None:
            continue
        compared += 1
        if record.latency_low_ms is None or plain.latency_high_ms is None:
            continue
        if record.latency_low_ms > plain.latency_high_ms and record.latency_ms and plain.latency_ms:
            text = MEASURES["latency_ms"].text
            times = f"{record.id} takes {text(record.latency_ms)}, and {plain.id} in float {text(plain.latency_ms)}"
            why = record.form.partition("it may be slower than float: ")[2]
            worst.append((record.latency_ms / plain.latency_ms, times + (f" ({why})" if why else "")))
    if not worst:
        return ""
    _, example = max(worst)
    verb = "is" if len(worst) == 1 else "are"
    many = f"{len(worst)} of {compared} quantized files {verb} slower"
    return f"On this processor {many} than the same net in float: {example}."


def _named(ids: Sequence[str]) -> str:
    kind = "record" if len(ids) == 1 else "records"
    return f"{kind} {', '.join(ids[:SHOWN])}{', ...' if len(ids) > SHOWN else ''}"
