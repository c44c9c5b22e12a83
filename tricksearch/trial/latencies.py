"""A timing as a record has it: latencies of one state of the machine, with their interval and how they were taken."""

from __future__ import annotations

import uuid
from typing import Any

from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring.rounds import SLOW
from tricksearch.trial.measuring.stopwatch import Timing


def measures_of(
    timing: Timing, yardstick_ms: float, settings: LatencySettings, graph: str, device: str
) -> dict[str, Any]:
    """A timing by the names of measures and of a record's other fields.

    `yardstick_ms` is the time of the yardstick that all milliseconds of the run refer to, `graph` the mark of what was
    timed: the latencies of one mark are of one graph, called in one way.
    """
    latency = timing.ratio * yardstick_ms
    low, high = timing.bounds or (None, None)
    moved = yardstick_ms / timing.yardstick_ms
    throughputs = {str(settings.batch): 1e3 * settings.batch / latency}
    throughputs |= {size: rate / moved for size, rate in timing.throughput.items()}
    return {
        "latency_ms": latency,
        "latency_ratio": timing.ratio if device == "cpu" else timing.ms / timing.baseline_ms,
        "latency_low_ms": None if low is None else low * yardstick_ms,
        "latency_high_ms": None if high is None else high * yardstick_ms,
        "latency_p95_ms": timing.p95 * yardstick_ms,
        "latency_p99_ms": timing.p99 * yardstick_ms,
        "latency_runs": timing.runs,
        "latency_rounds": timing.rounds,
        "latency_disturbed": timing.disturbed,
        "latency_note": "; ".join(note for note in (timing.note, _disturbed(timing), _slow(timing)) if note),
        "device_ms": timing.device_ms,
        "device_p95_ms": timing.device_p95_ms,
        "throughput": max(throughputs.values()),
        "throughputs": throughputs,
        "memory_bytes": timing.memory_bytes,
        "graph": graph,
        "timing": {
            "id": uuid.uuid4().hex,  # records with one id share one measurement
            "ms": timing.ms,
            "low_ms": None if low is None else timing.ms * low / timing.ratio,
            "high_ms": None if high is None else timing.ms * high / timing.ratio,
            "baseline_ms": timing.baseline_ms,
            "yardstick_ms": timing.yardstick_ms,
            "fastest_ms": timing.fastest_ms,
            "refers_to_ms": yardstick_ms,
            "device": device,
            "seconds": timing.seconds,
        },
    }


def _disturbed(timing: Timing) -> str:
    if timing.reliable:
        return ""
    return (
        f"other programs had the processor in {100 * timing.disturbed:.0f} % of the rounds: the latency is less sure "
        "than its interval says, and is not shared with other nets"
    )


def _slow(timing: Timing) -> str:
    slower = timing.yardstick_ms / timing.fastest_ms
    return f"taken while the machine was x {slower:.2f} slower than at its fastest" if slower > SLOW else ""
