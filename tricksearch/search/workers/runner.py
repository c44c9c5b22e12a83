"""Trials on Ray: Ray Tune places them on workers, here or on a cluster; the loop and its store stay in this process."""

from __future__ import annotations

import contextlib
import logging
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.job_config import JobConfig

from tricksearch.contract import InputError
from tricksearch.records.hardware import usable_cores
from tricksearch.search.cluster.bundle import ClusterBundle
from tricksearch.search.loop import Loop
from tricksearch.search.workers.capacity import gpus_of_a_trial, room_for
from tricksearch.search.workers.failures import _Failures, _memory_is_the_trials, _StopOnError
from tricksearch.search.workers.scheduler import RungScheduler
from tricksearch.search.workers.searcher import LoopSearcher
from tricksearch.search.workers.surroundings import LONGEST, SOCKETS, DriversPath, sockets_folder
from tricksearch.search.workers.worker import TrialWorker

OBJECT_STORE_BYTES = 128 * 2**20  # records are small; Ray would otherwise reserve a third of the memory
UNLIMITED = 4096  # trials at a time, to Tune, which cannot change its mind; the searcher counts them itself


def run_on_ray(
    loop: Loop, workers: int | None = None, address: str | None = None, worker: type[TrialWorker] = TrialWorker
) -> None:
    """Run the loop's trials. Raises InputError where no cluster answers at `address` or no worker can be placed."""
    threads = loop.study.train.threads
    _memory_is_the_trials()
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="tricksearch-ray-"))
        bundle = ClusterBundle(loop, Path(scratch)) if address else None
        stack.enter_context(_ray(address, threads, workers, bundle.runtime_env if bundle else None))
        if bundle:
            bundle.open()
        gpus = gpus_of_a_trial(loop.study, address)
        searcher = LoopSearcher(loop, room_for(threads, gpus, workers, address))
        tuner = tune.Tuner(
            tune.with_resources(worker, {"cpu": threads, "gpu": gpus}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=RungScheduler(searcher.stops, searcher.on_trial_complete),
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
        # More workers than cores are the user's choice: Ray is given as many CPUs as they need.
        cpus = max(usable_cores(), (workers or 1) * threads)
        options |= {
            "address": "local",
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    on_term = signal.getsignal(signal.SIGTERM)
    with contextlib.ExitStack() as stack:
        if not address:
            stack.enter_context(_here(options))
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
        stack.callback(ray.shutdown)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)  # Ray puts a handler there that ends the process at once
        yield


@contextlib.contextmanager
def _here(options: dict[str, Any]) -> Iterator[None]:
    """Complete the options of workers on this machine. Raises InputError where Ray's sockets can be nowhere."""
    job = JobConfig()
    job._py_driver_sys_path = DriversPath()
    options["job_config"] = job
    with contextlib.ExitStack() as stack:
        try:
            short = stack.enter_context(sockets_folder())
        except OSError as error:
            raise InputError(
                f"Ray's sockets need a folder with a path of at most {LONGEST - len(SOCKETS)} bytes: {error}",
                place="TMPDIR",
                remedy="set TMPDIR to such a folder, or use --local",
            ) from error
        if short is not None:
            options["_temp_dir"] = short
        yield
