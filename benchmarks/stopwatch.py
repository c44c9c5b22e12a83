"""Latency beside trials that train: taken through the machine's lock, and without it.

    python -m benchmarks stopwatch [--nets 30]

Real graphs, the built-in net in several widths and depths, each in FP32 and in INT8. Each is timed in two passes, in
an order drawn at random, and each time (a) on an idle machine, where the trials are stopped by a signal, (b) beside
two processes that train one trial after another, through the machine's lock, (c) beside them without the lock. The
three follow each other within seconds, so that a slow change of the machine falls on all of them alike. Everything
runs at the nice level of Ray's workers. The peer is (c).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil

from benchmarks.support.common import ROOT, Row, give_result, hardware_line, print_rows, run_python
from tricksearch.contract import Deployable, Workbench, discover
from tricksearch.records.measures import DRIFT
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.measuring.runner import Runner, end_with
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME

NICE = 15  # Ray starts its workers so
SHAPE = (3, 32, 32)
WIDTHS, BLOCKS = (8, 12, 16, 24, 32), (1, 2, 3)  # of the first of three stages; in each stage
TRAINERS = 2
PASSES = 2
SEED = 0
BUDGET = 270.0  # seconds for all of it; nets that were not timed in every pass by then are left out
CONDITIONS = ("idle", "lock", "no lock")
COLUMNS = ("median_ms", "p95_ms", "drift", "attempts", "waited")
SETTINGS = LatencySettings(batches=(1,))
RECIPE = {
    "data": {"name": "digits"},
    "net": {"name": "resnet_small", "widths": [16, 32], "blocks": 1},
    "train": {"epochs": 5},
    "latency": {"block_seconds": 0.02},
}
Array = np.ndarray[Any, Any]


def main(arguments: list[str]) -> list[Row]:
    """Measure in a process of its own, whose nice level can be raised for good."""
    parser = argparse.ArgumentParser(prog="stopwatch", description=__doc__)
    parser.add_argument("--nets", type=int, default=30, help="how many of the 30 graphs")
    nets = parser.parse_args(arguments).nets
    print(hardware_line())
    result = run_python("-m", "benchmarks.stopwatch", "measure", str(nets)).result
    figures = {name: np.array(result[name]) for name in CONDITIONS}  # (passes, nets, COLUMNS)
    latency = figures["idle"][..., 0]
    print(
        f"latencies from {latency.min():.3f} to {latency.max():.3f} ms, one thread, batch 1; {TRAINERS} processes "
        f"trained {result['trials']} trials meanwhile; load average {os.getloadavg()[0]:.1f} at the end; seed {SEED}"
    )
    rows = _rows(figures)
    print_rows("Latency while trials train, against an idle machine; the peer is the stopwatch without the lock", rows)
    return rows


def _rows(figures: dict[str, Array]) -> list[Row]:
    n = f"{figures['idle'].shape[1]} nets x {PASSES}"
    texts: dict[str, dict[str, str]] = {}
    for name in CONDITIONS:
        texts[name] = {
            "latency against idle, median over nets (range)": _bias(figures[name], figures["idle"], 0),
            "p95 against idle, median over nets (range)": _bias(figures[name], figures["idle"], 1),
            "variation of a repeat, median over nets (rms)": _variation(figures[name][..., 0]),
            "Kendall tau between the passes": _tau(figures[name][..., 0]),
            "latencies that kept a drift above 2 %": f"{(abs(figures[name][..., 2] - 1) > DRIFT).mean():.0%}",
            "attempts at a latency, mean": f"{figures[name][..., 3].mean():.2f}",
            "waiting for the lock, median": f"{1e3 * np.median(figures[name][..., 4]):.0f} ms",
        }
    targets = ("at most 2 %", "", "at most 3 %", "at least 0.98", "", "", "")
    return [
        Row(f"stopwatch: {what}", ours, texts["no lock"][what], f"idle: {texts['idle'][what]}", target, n)
        for (what, ours), target in zip(texts["lock"].items(), targets, strict=True)
    ]


def _bias(latency: Array, idle: Array, column: int) -> str:
    bias = latency[..., column].mean(0) / idle[..., column].mean(0) - 1
    return f"{np.median(bias):+.1%} ({bias.min():+.0%} to {bias.max():+.0%})"


def _variation(latency: Array) -> str:
    """The coefficient of variation of one net's latencies (passes, nets) over the passes."""
    variation = latency.std(0, ddof=1) / latency.mean(0)
    return f"{np.median(variation):.1%} ({np.sqrt((variation**2).mean()):.1%})"


def _tau(latency: Array) -> str:
    from scipy.stats import kendalltau

    return f"{kendalltau(latency[0], latency[1]).statistic:.3f}"


def measure(nets: int) -> None:
    """In a process of its own: time the nets under every condition."""
    os.nice(max(0, NICE - os.getpriority(os.PRIO_PROCESS, 0)))
    end = time.monotonic() + BUDGET
    images = np.random.default_rng(SEED).integers(0, 256, (SETTINGS.batch, *SHAPE), np.uint8)
    latencies: dict[tuple[str, int, int], list[float]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch,
        contextlib.closing(Machine()) as machine,
        contextlib.closing(Runner(images)) as runner,
    ):
        graphs = [*itertools.islice(_graphs(Path(scratch)), nets)]
        with _trainers(Path(scratch)) as trainers:
            for turn, net in _order(len(graphs)):
                if time.monotonic() > end:
                    break
                runner.load(ONNX_RUNTIME, graphs[net], 1)
                for name in CONDITIONS:
                    with _under(name, machine, trainers) as waited:
                        timing = runner.time(SETTINGS)
                    measured = asdict(timing) | {"waited": waited}
                    latencies[name, turn, net] = [measured[column] for column in COLUMNS]
        trials = len([*Path(scratch).glob("trial-*")])
    turns = range(PASSES)
    whole = [net for net in range(len(graphs)) if all((CONDITIONS[-1], turn, net) in latencies for turn in turns)]
    if not whole:
        raise RuntimeError(f"no net was timed {PASSES} times in {BUDGET:.0f} s: the machine is too busy")
    figures = {name: [[latencies[name, turn, net] for net in whole] for turn in turns] for name in CONDITIONS}
    give_result({"trials": trials, **figures})


def _order(nets: int) -> Iterator[tuple[int, int]]:
    """(pass, net): both passes over a third of the nets, then over the next, so that a busy machine gets to some."""
    draw = random.Random(SEED)
    shuffled = draw.sample(range(nets), nets)
    for part in (shuffled[start::3] for start in range(3)):
        for turn in range(PASSES):
            yield from ((turn, net) for net in draw.sample(part, len(part)))


@contextlib.contextmanager
def _under(name: str, machine: Machine, trainers: list[psutil.Process]) -> Iterator[float]:
    """One of CONDITIONS; yields the seconds that the lock was waited for."""
    if name == "lock":
        before = machine.waited
        with machine.alone():
            yield machine.waited - before
        return
    # A trial's own runner may be timing at this moment.
    halted = [stopped for trainer in trainers for stopped in (trainer, *trainer.children(recursive=True))]
    halted = halted if name == "idle" else []
    try:
        for process in halted:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        yield 0.0
    finally:
        for process in halted:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def _graphs(folder: Path) -> Iterator[Deployable]:
    """Exported nets, untrained: their latency depends on their graphs alone."""
    import torch

    from tricksearch.trial.measuring.export import export
    from tricksearch.trial.training.resnet import SmallResNet

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    images = np.random.default_rng(SEED).random((64, *SHAPE), np.float32)
    int8 = discover()["int8"]()
    for width, blocks in itertools.product(WIDTHS, BLOCKS):
        own = folder / f"{width}x{blocks}"
        own.mkdir()
        net = SmallResNet(SHAPE[0], 10, (width, 2 * width, 4 * width), blocks)
        deployable = export(net, SHAPE, own / "net.onnx")
        yield deployable
        bench = types.SimpleNamespace(folder=own, calibration_images=lambda count: images[:count])
        yield int8.deploy(deployable, cast(Workbench, bench))


@contextlib.contextmanager
def _trainers(folder: Path) -> Iterator[list[psutil.Process]]:
    """Processes that train trials, once each of them is at it; they are gone afterwards."""
    started = []
    try:
        for number in range(TRAINERS):
            command = [sys.executable, "-m", "benchmarks.stopwatch", "train", str(folder), str(number)]
            started.append(subprocess.Popen([*command, str(os.getpid())], cwd=ROOT))
        while len({path.name.split("-")[1] for path in folder.glob("trial-*")}) < TRAINERS:
            if any(process.poll() is not None for process in started):
                raise RuntimeError("a process that was to train trials has ended")
            time.sleep(0.1)
        yield [psutil.Process(process.pid) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()


def train(folder: Path, number: int, parent: int) -> None:
    """In a process of its own: train one trial after another until the parent ends this."""
    end_with(parent)
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
    if sys.argv[1] == "measure":
        measure(int(sys.argv[2]))
    else:
        train(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
