"""The clock of a training: seconds of training alone, on a device that computes beside the processor."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch

from tricksearch.trial.training.workbench import Bench


class TrainingClock:
    """Counts the seconds that the trainings of one workbench take.

    It stands still while the trial waits for others' stopwatches, gets a teacher, or looks at a rung.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.spent = 0.0  # seconds of all trainings that ended, also of those that failed; looks at rungs included
        self._since = 0.0

    @property
    def running(self) -> float:
        """Seconds of the training that is under way."""
        return self._now() - self._since

    @property
    def spent_so_far(self) -> float:
        """What `spent` would be if the training that is under way ended now."""
        return self.spent + self.running + self._bench.looked_seconds

    @contextlib.contextmanager
    def training(self) -> Iterator[list[float]]:
        """Count a training, also where it fails; yields a list whose one entry gets its seconds."""
        bench, taken = self._bench, [0.0]
        looked, self._since = bench.looked_seconds, self._now()
        try:
            yield taken
        finally:
            if bench.device.type == "cuda":
                torch.cuda.synchronize(bench.device)
            taken[0] = self.running
            self.spent += taken[0] + bench.looked_seconds - looked

    def _now(self) -> float:
        bench = self._bench
        return time.perf_counter() - bench.machine.waited - bench.teacher_seconds - bench.looked_seconds
