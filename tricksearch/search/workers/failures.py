"""Failures of Ray's workers, and how the loop learns of them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ray import tune
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.experiment import Trial

from tricksearch.search.workers.searcher import LoopSearcher


class _StopOnError(tune.Stopper):
    """Ends the run where the loop could not go on."""

    def __init__(self, searcher: LoopSearcher) -> None:
        self._searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Whether the loop has met an error."""
        return self._searcher.error is not None

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Failures(tune.Callback):
    """Tells the searcher why a worker was lost, which Ray's call of the searcher itself leaves out."""

    def __init__(self, searcher: LoopSearcher) -> None:
        self._searcher = searcher
        self._resources: Any = None  # that every trial takes

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called when the searcher has heard that there was an error."""
        self._searcher.lost(trial.trial_id, _reason(trial))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called when the searcher has heard: what Tune keeps of a trial to its end need not hold its records."""
        trial.experiment_tag = ""
        self._resources = self._resources or trial.placement_group_factory
        trial.placement_group_factory = self._resources  # equal to its own, which Tune makes anew for each trial
        metadata = trial.run_metadata
        for kept in (
            trial.config,
            trial.evaluated_params,
            metadata.last_result,
            metadata.metric_analysis,
            metadata.metric_n_steps,
        ):
            kept.clear()


def _memory_is_the_trials() -> None:
    """Let a worker that Ray's memory monitor killed be lost like any other one, for the reason that Ray gives.

    Tune's manager of actors takes that exception, which is no RayActorError, for a fault of its own and ends the run.
    """
    failed = RayActorManager._actor_task_failed
    if getattr(failed, "knows_memory", False):
        return

    def renamed(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=f"OutOfMemoryError: {exception}")
        failed(self, tracked_actor_task, exception)

    renamed.knows_memory = True  # type: ignore[attr-defined]
    RayActorManager._actor_task_failed = renamed


def _reason(trial: Trial) -> str:
    """The end of the error that Ray wrote for the trial, in one line."""
    text = ""
    with contextlib.suppress(OSError, TypeError):  # where there is no such file the trial is still recorded
        text = Path(trial.error_file).read_text(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    start = max((at for at, line in enumerate(lines) if "Error" in line.split(":")[0]), default=0)
    return " ".join(lines[start:]) or "its process ended without a word"
