"""What runs on the machine beside a measurement: processes that train trials, and one that only keeps a core busy."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from benchmarks.support.common import ROOT
from tricksearch.trial.measuring.runner_process import end_with

TRAINERS = 2
RECIPE = {
    "data": {"name": "digits"},
    "net": {"name": "resnet_small", "widths": [16, 32], "blocks": 1},
    "train": {"epochs": 5},
}


@contextlib.contextmanager
def trainers(folder: Path) -> Iterator[list[psutil.Process]]:
    """Processes that train trials, once each of them is at it; they are gone afterwards."""
    started = []
    try:
        for number in range(TRAINERS):
            started.append(_started("train", str(folder), str(number)))
        while len({path.name.split("-")[1] for path in folder.glob("trial-*")}) < TRAINERS:
            if any(process.poll() is not None for process in started):
                raise RuntimeError("a process that was to train trials has ended")
            time.sleep(0.1)
        yield [psutil.Process(process.pid) for process in started]
    finally:
        _end(started)


@contextlib.contextmanager
def halted(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """These and their children stopped by a signal: a trial's own runner may be timing at this moment."""
    stopped = [every for process in processes for every in (process, *process.children(recursive=True))]
    try:
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


@contextlib.contextmanager
def one_busy_core() -> Iterator[None]:
    """This process and all that it starts on one core, with a loop on the same core that never rests."""
    cores = os.sched_getaffinity(0)
    core = max(cores)
    loop = []
    try:
        os.sched_setaffinity(0, {core})
        loop.append(_started("loop"))  # on the core that it inherits
        time.sleep(1.0)  # until it has imported what it needs
        yield
    finally:
        os.sched_setaffinity(0, cores)
        _end(loop)


def _started(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.support.beside", str(os.getpid()), *arguments]
    return subprocess.Popen(command, cwd=ROOT)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.wait()


def train(folder: Path, number: int) -> None:
    """In a process of its own: train one trial after another."""
    from tricksearch.records.recipe import Recipe
    from tricksearch.trial.job import Job
    from tricksearch.trial.run import run_trial

    recipe = Recipe.model_validate(RECIPE)
    for seed in itertools.count(1000 * number):
        records = run_trial(Job.of(recipe, seed, cache=folder / "cache"), reraise=(Exception,))
        if not records[0].finished:
            raise RuntimeError(f"the trial {records[0].status}: {records[0].reason}")
        (folder / f"trial-{number}-{seed}").touch()


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    if sys.argv[2] == "train":
        train(Path(sys.argv[3]), int(sys.argv[4]))
    while True:
        pass
