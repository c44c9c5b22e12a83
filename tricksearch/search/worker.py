"""What runs in a worker: one job in, its records out. A worker is reused for trial after trial."""

from __future__ import annotations

import json
from typing import Any

from ray import tune

from tricksearch.contract import InputError
from tricksearch.search.loop import Job, run_job
from tricksearch.trial.record import Record


class TrialWorker(tune.Trainable):
    """Ray Tune's view of a trial: a single step that reports the records as JSON text.

    No exception of a trial leaves it: one that did would cost Ray the whole process.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Take the job; Ray calls it when the process is new."""
        self._job = Job(**json.loads(config["job"]))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next job in the same process."""
        self._job = Job(**json.loads(new_config["job"]))
        return True

    def step(self) -> dict[str, Any]:
        """Run the whole trial."""
        try:
            records = [record.to_json() for record in self.run(self._job)]
            return {"records": json.dumps(records), "done": True}
        except InputError as error:  # no trial can run here; the driver ends the run
            return {"problem": str(error), "done": True}

    def run(self, job: Job) -> list[Record]:
        """The trial itself."""
        return run_job(job)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to keep: the records are stored by the driver."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing was kept."""
