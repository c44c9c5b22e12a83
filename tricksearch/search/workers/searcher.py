"""The searcher that Ray Tune asks for trials: it hands on what the loop proposes."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.tune.search import Searcher

from tricksearch.contract.errors import InputError
from tricksearch.records.record import Record
from tricksearch.search.loop import Loop
from tricksearch.trial.job import Job
from tricksearch.trial.rungs import Progress

SIGNS_OF_MEMORY = ("OutOfMemory", "memory usage threshold", "low on memory")  # in what Ray says of a lost worker


PROBE_EVERY = 5.0  # seconds between two looks whether Ray's server here is alive


class LoopSearcher(Searcher):
    """Ray Tune's view of the loop; `room` says how many trials may run at a time."""

    def __init__(self, loop: Loop, room: Callable[[], int]) -> None:
        super().__init__(metric=None, mode=None)
        self._loop, self._room = loop, room
        self._jobs: dict[str, Job] = {}
        self._server, self._probed = _server_socket(), time.monotonic()
        self.error: Exception | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next job, None where there is none just now, or FINISHED."""
        with self._kept():
            if time.monotonic() - self._probed > PROBE_EVERY:
                self._probed = time.monotonic()
                self._probe()
            job = self._loop.next() if self.error is None and self._loop.running < self._room() else None
            if job is not None:
                self._jobs[trial_id] = job
                # As text: Tune keeps statistics of every number that it finds in a mapping, for every trial.
                return {"job": json.dumps(job.to_json())}
        return None if self.error is None and not self._loop.over else str(Searcher.FINISHED)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Tell Tune to leave counting to this searcher."""
        return True

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Store what the trial reported, or that its worker was lost."""
        if error or not result:
            return  # `_Failures` gets it next, and knows the reason
        if self._jobs.pop(trial_id, None) is not None:
            with self._kept():
                if "problem" in result:
                    raise InputError(result["problem"])
                self._loop.finish([Record.from_json(row) for row in json.loads(result["records"])])

    def stops(self, trial_id: str, progress: Progress) -> bool:
        """Whether a trial that has come to a rung is to be stopped; its record is then stored."""
        with self._kept():
            stopped = self._loop.report(self._jobs[trial_id].trial, progress)
            if stopped is not None:
                del self._jobs[trial_id]  # Tune will say that the trial is complete: it has been heard of here
                self._loop.finish([stopped])
                return True
        return False

    def lost(self, trial_id: str, reason: str) -> None:
        """Tell the loop that a trial's worker was lost."""
        job = self._jobs.pop(trial_id, None)
        if job is not None:
            memory = any(sign in reason for sign in SIGNS_OF_MEMORY)
            with self._kept():
                self._probe()
                self._loop.lost(job, "out_of_memory" if memory else "failed", f"the worker was lost: {reason}"[:500])

    def _probe(self) -> None:
        """Raise RuntimeError where Ray's server on this machine is dead: every further trial would look lost."""
        try:
            with socket.socket(socket.AF_UNIX) as wire:
                wire.settimeout(PROBE_EVERY)
                wire.connect(self._server)
        except (BlockingIOError, TimeoutError):
            return  # it is slow to answer, which the dead are not
        except (ConnectionRefusedError, FileNotFoundError):
            raise RuntimeError(
                "Ray's server on this machine (its raylet) has died; what has finished is stored, and the same "
                "command goes on from there"
            ) from None

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        # Tune logs what a searcher raises and goes on; a store that cannot be written must end the run instead.
        try:
            yield
        except Exception as error:
            self.error = self.error or error

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: the store is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was kept."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to keep."""

    def get_state(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles the tuner for its own resume, which is not used here; the loop holds what cannot be pickled.
        return {}


def _server_socket() -> str:
    here = ray.get_runtime_context().get_node_id()
    return next(str(node["RayletSocketName"]) for node in ray.nodes() if node["NodeID"] == here)
