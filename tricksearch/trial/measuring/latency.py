"""The latency of deployables, taken while nothing else runs on the machine."""

from __future__ import annotations

from collections.abc import Sequence

from tricksearch.contract import Deployable, Runtime
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.measuring.stopwatch import Timing


def timed_alone(
    runner: Runner,
    machine: Machine,
    files: Sequence[tuple[Runtime, Deployable]],
    baseline: Deployable,
    settings: LatencySettings,
    fastest_ms: float | None = None,
) -> list[Timing]:
    """Load deployables of one device and time them together, with the plain net's file as what they are compared with.

    `fastest_ms` is the yardstick's time at the machine's fastest, where that is known.
    Raises TrialError, as where a runtime fails, and MemoryError.
    """
    runner.load_to_time(files, baseline, settings)  # while others may train: it can take minutes
    with machine.alone():
        return runner.time(settings, fastest_ms)
