"""Trials on Ray: Ray Tune places them on workers, here or on a cluster; the loop and its store stay in this process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tricksearch.contract import InputError
from tricksearch.search.job import Job
from tricksearch.search.loop import Loop
from tricksearch.trial.hardware import usable_cores
from tricksearch.trial.record import Record
from tricksearch.trial.rungs import Progress

# Read when Ray is imported or starts its processes, so they come before the imports.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1000000")  # the store is what a resumed run reads
os.environ.setdefault("TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "1000000")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import ray
from ray import tune
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from tricksearch.search.cluster import Luggage
from tricksearch.search.room import gpus_of_a_trial, room_for
from tricksearch.search.scheduler import RungScheduler
from tricksearch.search.worker import TrialWorker

OBJECT_STORE_BYTES = 128 * 2**20  # records are small; Ray would otherwise reserve a third of the memory
UNLIMITED = 4096  # trials at a time, to Tune, which cannot change its mind; the searcher counts them itself
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
            return  # `_Failures` hears of it next, and knows the reason
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
        told = trial.run_metadata
        for kept in (trial.config, trial.evaluated_params, told.last_result, told.metric_analysis, told.metric_n_steps):
            kept.clear()


def _memory_is_the_trials() -> None:
    """Let a worker that Ray's memory monitor killed be lost like any other one, for the reason that Ray gives.

    Tune's manager of actors takes that exception, which is no RayActorError, for a fault of its own and ends the run.
    """
    failed = RayActorManager._actor_task_failed
    if getattr(failed, "knows_memory", False):
        return

    def told(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=f"OutOfMemoryError: {exception}")
        failed(self, tracked_actor_task, exception)

    told.knows_memory = True  # type: ignore[attr-defined]
    RayActorManager._actor_task_failed = told


def _reason(trial: Trial) -> str:
    """The end of the error that Ray wrote for the trial, in one line."""
    text = ""
    with contextlib.suppress(OSError, TypeError):  # where there is no such file the trial is still recorded
        text = Path(trial.error_file).read_text(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    start = max((at for at, line in enumerate(lines) if "Error" in line.split(":")[0]), default=0)
    return " ".join(lines[start:]) or "its process ended without a word"


def run_on_ray(
    loop: Loop, workers: int | None = None, address: str | None = None, worker: type[TrialWorker] = TrialWorker
) -> None:
    """Run the loop's trials. Raises InputError where no cluster answers at `address` or no worker can be placed."""
    threads = loop.study.train.threads
    _memory_is_the_trials()
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="tricksearch-ray-"))
        luggage = Luggage(loop, Path(scratch)) if address else None
        stack.enter_context(_ray(address, threads, workers, luggage.runtime_env if luggage else None))
        if luggage:
            luggage.open()
        gpus = gpus_of_a_trial(loop.study, address)
        searcher = LoopSearcher(loop, room_for(threads, gpus, workers, address))
        tuner = tune.Tuner(
            tune.with_resources(worker, {"cpu": threads, "gpu": gpus}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=RungScheduler(searcher.stops),
                num_samples=-1,  # the searcher ends it: a trial that lost its worker is one more to Tune
                max_concurrent_trials=UNLIMITED,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=scratch,
                verbose=0,
                callbacks=[_Failures(searcher)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # a call more for each trial
                stop=_StopOnError(searcher),
            ),
        )
        tuner.fit()
        if searcher.error is not None:
            raise searcher.error


def _server_socket() -> str:
    here = ray.get_runtime_context().get_node_id()
    return next(str(node["RayletSocketName"]) for node in ray.nodes() if node["NodeID"] == here)


@contextlib.contextmanager
def _ray(address: str | None, threads: int, workers: int | None, runtime_env: dict[str, Any] | None) -> Iterator[None]:
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": True,
    }
    if address:
        if "://" in address:
            raise InputError(
                f"'{address}' is the address of a Ray client",
                place="--address",
                remedy="give host:port, or auto on a node",
            )
        options |= {"address": address, "runtime_env": runtime_env}
    else:
        # More workers than cores are the user's wish; Ray is told of as many CPUs as they need.
        cpus = max(usable_cores(), (workers or 1) * threads)
        options |= {
            "address": "local",
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options)
    except Exception as error:
        if not address:
            raise
        raise InputError(
            f"no Ray cluster answers at '{address}': {error}",
            place="--address",
            remedy="start one with 'ray start --head'",
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_term)  # Ray puts a handler of its own there, which ends the process at once
    try:
        yield
    finally:
        ray.shutdown()
