"""Early stopping as Ray Tune's protocol has it: a result at each rung, and a decision on each result."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tricksearch.trial.rungs import Progress

PROGRESS = "progress"  # the key of a worker's result at a rung: a Progress as JSON text
LAST = "last"  # the key of a result behind which the worker ends its process


class RungScheduler(FIFOScheduler):
    """Starts trials in the order in which they were suggested, and ends those that `stops` wants ended at a rung.

    It has no state: the loop decides, and what the loop knows is in the store.
    """

    def __init__(
        self, stops: Callable[[str, Progress], bool], last: Callable[[str, dict[str, Any]], object] = lambda *_: None
    ) -> None:
        """`last` hears of the result of a trial whose worker then ends its process."""
        super().__init__()
        self._stops, self._last = stops, last

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP or CONTINUE. Tune does not ask for a result that is marked as done."""
        if LAST in result:
            self._last(trial.trial_id, result)
        progress = result.get(PROGRESS)
        if progress is not None and self._stops(trial.trial_id, Progress.from_json(json.loads(progress))):
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles the scheduler for its own resume, which is not used here.
        return {}
