"""The latency of a deployable, taken while nothing else runs on the machine."""

from __future__ import annotations

from tricksearch.contract import Deployable, Runtime
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.measuring.stopwatch import Timing


def timed_alone(
    runner: Runner, machine: Machine, runtime: Runtime, deployable: Deployable, settings: LatencySettings
) -> Timing:
    """Load a deployable and time it. Raises TrialError, as where the runtime fails, and MemoryError."""
    runner.load(runtime, deployable, settings.threads)  # while others may train: it can take minutes
    with machine.alone():
        return runner.time(settings)
