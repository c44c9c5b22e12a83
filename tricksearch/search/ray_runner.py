"""Trials on Ray: Ray Tune places them on workers, here or on a cluster; the loop and its store stay in this process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tricksearch.contract import InputError
from tricksearch.search.loop import Job, Loop
from tricksearch.trial.hardware import usable_cores
from tricksearch.trial.record import Record

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
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from tricksearch.search.worker import TrialWorker

OBJECT_STORE_BYTES = 128 * 2**20  # records are small; Ray would otherwise reserve a third of the memory


class LoopSearcher(Searcher):
    """Ray Tune's view of the loop."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(metric=None, mode=None)
        self._loop = loop
        self._jobs: dict[str, Job] = {}
        self.error: Exception | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next job, or FINISHED."""
        with self._kept():
            job = None if self.error else self._loop.next()
            if job is not None:
                self._jobs[trial_id] = job
                # As text: Tune keeps statistics of every number that it finds in a mapping, for every trial.
                return {"job": json.dumps(job.to_json())}
        return str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Store what the trial reported, or that its worker was lost."""
        if error or not result:
            return  # `_Failures` hears of it next, and knows the reason
        if self._jobs.pop(trial_id, None) is not None:
            with self._kept():
                if "problem" in result:
                    raise InputError(result["problem"])
                self._loop.finish([Record.from_json(row) for row in json.loads(result["records"])])

    def lost(self, trial_id: str, reason: str) -> None:
        """Store that a trial's worker was lost."""
        job = self._jobs.pop(trial_id, None)
        if job is not None:
            memory = "OutOfMemory" in reason or "memory usage threshold" in reason
            with self._kept():
                self._loop.lost(job, "out_of_memory" if memory else "failed", f"the worker was lost: {reason}"[:500])

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

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called when the searcher has heard that there was an error."""
        self._searcher.lost(trial.trial_id, _reason(trial))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called when the searcher has heard: what Tune keeps of a trial to its end need not hold its records."""
        trial.experiment_tag = ""
        told = trial.run_metadata
        for kept in (trial.config, trial.evaluated_params, told.last_result, told.metric_analysis, told.metric_n_steps):
            kept.clear()


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
    with (
        _ray(address, threads, workers),
        tempfile.TemporaryDirectory(prefix="tricksearch-ray-") as scratch,
    ):
        gpus = _gpus_of_a_trial(loop.study.train.device)
        workers = min(workers or sys.maxsize, _fitting(threads, gpus))
        searcher = LoopSearcher(loop)
        tuner = tune.Tuner(
            tune.with_resources(worker, {"cpu": threads, "gpu": gpus}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=max(1, loop.left),
                max_concurrent_trials=workers,
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


def _gpus_of_a_trial(device: str) -> int:
    if ":" in device:
        raise InputError(
            f"'{device}' names one GPU, and under Ray each trial is given one",
            place="train.device",
            remedy="write cuda, or use --local",
        )
    return int(device == "cuda" or (device == "auto" and ray.cluster_resources().get("GPU", 0) >= 1))


def _fitting(threads: int, gpus: int) -> int:
    """How many trials the cluster holds at a time. Raises InputError where no node holds one."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fit = sum(
        min(int(node.get("CPU", 0)) // threads, int(node.get("GPU", 0)) // gpus if gpus else sys.maxsize)
        for node in nodes
    )
    if fit < 1:
        have = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise InputError(
            f"no worker fits: a trial takes {threads} CPU threads and {gpus} GPUs, the nodes have {have}",
            remedy="lower train.threads, or set train.device to cpu",
        )
    return fit


@contextlib.contextmanager
def _ray(address: str | None, threads: int, workers: int | None) -> Iterator[None]:
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
        options["address"] = address
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
