"""What runs in a worker: one job in, its records out. A worker is reused for trial after trial."""

from __future__ import annotations

import json
import os
from typing import Any

from ray import tune

from tricksearch.contract import InputError
from tricksearch.records.record import Record
from tricksearch.search.cluster.bundle import CACHE_SERVER
from tricksearch.search.workers.pausing import PausingTrial
from tricksearch.search.workers.scheduler import LAST, PROGRESS
from tricksearch.trial.faults import lost_device
from tricksearch.trial.job import Job
from tricksearch.trial.run import run_job
from tricksearch.trial.rungs import Progress, Report


class TrialWorker(tune.Trainable):
    """Ray Tune's view of a trial: a single step that reports the records as JSON text.

    Where the trial has rungs, a step ends at each of them, and Tune's scheduler says whether there is another one.
    No exception of a trial leaves it: one that did would cost Ray the whole process. Where the device no longer works
    in this process, it reports the records first and ends when it is asked to go on: no other trial meets that fault.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Take the job; Ray calls it when the process is new."""
        self._job = Job(**json.loads(config["job"]))
        self._pausing = PausingTrial()
        self._report: Report = lambda progress: None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next job in the same process."""
        self._pausing.stop()
        self._job = Job(**json.loads(new_config["job"]))
        return True

    def step(self) -> dict[str, Any]:
        """Run the whole trial, or up to its next rung."""
        job = self._job
        if lost_device.why:
            os._exit(1)  # its records are with the driver
        try:
            made = self._pausing.step(lambda report: self._heard(job, report)) if job.rungs else self.run(job)
            if isinstance(made, Progress):
                return {PROGRESS: json.dumps(made.to_json())}
            records = json.dumps([record.to_json() for record in made])
            return {"records": records, LAST: True} if lost_device.why else {"records": records, "done": True}
        except InputError as error:  # no trial can run here; the driver ends the run
            return {"problem": str(error), "done": True}

    def _heard(self, job: Job, report: Report) -> list[Record]:
        self._report = report
        return self.run(job)

    def run(self, job: Job) -> list[Record]:
        """The trial itself."""
        server = os.environ.get(CACHE_SERVER)
        if server is None:
            return run_job(job, self._report)
        from tricksearch.search.cluster.node import run_on_node

        return run_on_node(job, server, self._report)

    def cleanup(self) -> None:
        """Called by Ray before the process ends."""
        self._pausing.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to keep: the records are stored by the driver."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing was kept."""
