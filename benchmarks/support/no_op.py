"""The child of engine_cost: a study of trials that train nothing, on Ray, and when each of its records was stored."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.support.common import give_result
from tricksearch.contract import discover
from tricksearch.records.record import FINISHED, Record
from tricksearch.search.loop import Loop
from tricksearch.search.observer import Observer
from tricksearch.search.workers.runner import run_on_ray
from tricksearch.search.workers.worker import TrialWorker
from tricksearch.store.folder import held_folder, open_store
from tricksearch.study.study import load_study
from tricksearch.trial.job import Job

WORKERS = 2


def main() -> None:
    """Run `n` trials that sleep for so many seconds, and hand back the times and the memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("n", type=int)
    parser.add_argument("--sleep", type=float, default=0.0, help="seconds that a trial takes")
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--look-every", type=int, default=0, help="records between two looks at the memory")
    asked = parser.parse_args()
    n, sleep = asked.n, asked.sleep

    class NoOp(TrialWorker):
        def run(self, job: Job) -> list[Record]:
            time.sleep(sleep)
            return [_record(job)]

    clock = _Clock(asked.look_every)
    with tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch:
        path = Path(scratch) / "no_op.yaml"
        path.write_text(f"data: digits\nvariants: none\nsearch: {{trials: {n}, sampler: {asked.sampler}}}\n")
        study, registry = load_study(path), discover()
        with held_folder(Path(scratch) / "run") as folder:
            store = open_store(folder, study, registry)
            start, cpu = time.perf_counter(), time.process_time()
            run_on_ray(Loop(study, registry, store, folder, clock), WORKERS, worker=NoOp)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            stored = store.records()
            store.close()
    if len(stored) != n or not all(record.finished for record in stored):
        raise RuntimeError(f"{sum(record.finished for record in stored)} of {n} trials are in the store")
    give_result({"seconds": seconds, "cpu": cpu, "times": clock.times, "memory": clock.memory})


def _record(job: Job) -> Record:
    return Record(
        trial=job.trial,
        phase=job.phase,
        status=FINISHED,
        reason="",
        seed=job.seed,
        recipe=job.recipe,
        measures={
            "accuracy": random.uniform(90, 99),
            "f1": random.uniform(90, 99),
            "latency_ms": random.uniform(0.1, 1.0),
            "latency_p95_ms": 1.0,
            "params": 100_000,
            "macs": 1_000_000,
            "file_bytes": 400_000,
            "train_seconds": 0.0,
        },
        validation_images=300,
        latency_runs=1000,
    )


class _Clock(Observer):
    """Notes when records were stored and, now and then, what the processes hold."""

    def __init__(self, look_every: int) -> None:
        self.times: list[float] = []
        self.memory: dict[int, tuple[int, int]] = {}
        self._look_every = look_every

    def entered(self, phase: str, done: int, total: int) -> None:
        """Nothing to show."""

    def started(self, job: Job) -> None:
        pass

    def recorded(self, records: Sequence[Record]) -> None:
        self.times.append(time.time())
        if self._look_every and len(self.times) % self._look_every == 0:
            self.memory[len(self.times)] = own_bytes()

    def ended(self, why: str) -> None:
        """Nothing to show."""


def own_bytes() -> tuple[int, int]:
    """What this process and what the trials' workers hold for themselves alone (USS, bytes)."""
    driver = psutil.Process(os.getpid())
    workers = 0
    for process in driver.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::NoOp"):
                workers += process.memory_full_info().uss
    return driver.memory_full_info().uss, workers


if __name__ == "__main__":
    main()
