"""What runs a net on a GPU: PyTorch eager, its CUDA graph replayed, ONNX Runtime; ResNet-18 in three precisions.

    python -m benchmarks cuda [--size 224] [--batch 1] [--no-tests]

In one process, with no cluster: an untrained net, whose latency is that of a trained one, is deployed and timed by the
engine's own runner and stopwatch, alone on the machine, in turn with a product of matrices on the GPU. The host's time
is that of a call from outside, copies included; the device's is that between two events, images and logits being on
the GPU. The peer is PyTorch eager in float32; host times are compared as multiples of that product. At the end run the
tests that need a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.support.common import ROOT, Row, hardware_line, print_rows, ratio
from tricksearch.contract import Deployable, Runtime, TrialError, Workbench, build, discover, in_order
from tricksearch.records.settings import LatencySettings, NetSettings
from tricksearch.trial.measuring.latency import timed_alone
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME
from tricksearch.trial.measuring.stopwatch import Timing

SEED, CLASSES, IMAGES = 0, 100, 64
RUNTIMES: dict[str, dict[str, dict[str, Any]]] = {
    "PyTorch eager": {"torch_cuda": {"replay": False}},
    "PyTorch, graph replay": {"torch_cuda": {"replay": True}},
    "ONNX Runtime, CUDA": {"onnxruntime_gpu": {"provider": "cuda"}},
}
PRECISIONS: dict[str, dict[str, dict[str, Any]]] = {
    "fp32": {},
    "bf16": {"half_precision": {"dtype": "bf16"}},
    "fp16": {"half_precision": {"dtype": "fp16"}},
}
TESTS = ("tests/trial/test_gpu.py", "tests/plugins")  # those of the plugins that have a GPU's runtime in their name


def main(arguments: list[str]) -> list[Row]:
    """Time every combination; without a GPU, say so."""
    parser = argparse.ArgumentParser(prog="cuda", description=__doc__)
    parser.add_argument("--size", type=int, default=224, help="sides of the images, in pixels")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--no-tests", action="store_true", help="leave out the tests that need a GPU")
    asked = parser.parse_args(arguments)
    registry = discover()
    reasons = {name: registry[name].unavailable() for arm in RUNTIMES.values() for name in arm}
    for name, reason in reasons.items():
        if reason:
            print(f"left out: {name}: {reason}")
    arms = [
        (runtime, precision)
        for runtime, precision in itertools.product(RUNTIMES, PRECISIONS)
        if not any(reasons[name] for name in RUNTIMES[runtime])
    ]
    if not arms:
        return []
    print(hardware_line())
    timings = measure(arms, asked.size, asked.batch)
    first = timings.get(("PyTorch eager", "fp32"))
    peer = first if isinstance(first, Timing) else None
    rows = [Row(f"{runtime}, {precision}", *_texts(timings[runtime, precision], peer)) for runtime, precision in arms]
    print_rows(f"ResNet-18, batch {asked.batch}, {asked.size} x {asked.size}: host, device", rows)
    if not asked.no_tests:
        print("\nThe tests that need a GPU:", flush=True)
        command = [sys.executable, "-m", "pytest", "-rs", "-k", "gpu or cuda", *TESTS]
        environment = os.environ | {"TEST_CUDA": "1"}
        if code := subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            sys.exit(code)
    return rows


def measure(arms: list[tuple[str, str]], size: int, batch: int) -> dict[tuple[str, str], Timing | str]:
    """The timing of each combination, or why there is none."""
    import torch

    from tricksearch.trial.measuring.export import export
    from tricksearch.trial.training.nets import build_net

    shape = (3, size, size)
    torch.manual_seed(SEED)
    net = build_net(NetSettings(name="resnet18"), CLASSES, shape).eval()
    images = np.random.default_rng(SEED).integers(0, 256, (IMAGES, *shape), np.uint8)
    settings = LatencySettings(batch=batch, batches=(1, 8, 32), seconds=5.0, block_seconds=0.02)
    timings: dict[tuple[str, str], Timing | str] = {}
    with (
        tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch,
        contextlib.closing(Machine()) as machine,
        contextlib.closing(Runner(images)) as runner,
    ):
        graph = export(net, shape, Path(scratch) / "net.onnx")
        parts = {"folder": Path(scratch), "net": lambda: copy.deepcopy(net), "input_shape": shape}
        bench = cast(Workbench, types.SimpleNamespace(**parts))
        for runtime, precision in arms:
            try:
                deployable, run_by = _deployed(RUNTIMES[runtime] | PRECISIONS[precision], graph, bench)
                (timing,) = timed_alone(runner, machine, [(run_by, deployable)], graph, settings)
                timings[runtime, precision] = timing
            except TrialError as error:  # NotApplicable too: not every runtime computes in every precision
                timings[runtime, precision] = " ".join(str(error).split())
    return timings


def _deployed(tricks: dict[str, dict[str, Any]], graph: Deployable, bench: Workbench) -> tuple[Deployable, Runtime]:
    registry, deployable, runtime = discover(), graph, ONNX_RUNTIME
    for trick in in_order(build(registry[name], values) for name, values in tricks.items()):
        deployable, runtime = trick.deploy(deployable, bench), trick.runtime(runtime, bench)
    return deployable, runtime


def _texts(timing: Timing | str, peer: Timing | None) -> tuple[str, str, str, str, str]:
    """The cells of a row behind its name."""
    if isinstance(timing, str):
        return (timing, "", "", "", "")
    compared = ratio(peer.ratio, timing.ratio) if peer else ""
    if peer and peer.device_ms and timing.device_ms:
        compared += f", {ratio(peer.device_ms, timing.device_ms)}"
    n = f"{timing.runs} calls in {timing.rounds} rounds, {timing.disturbed:.0%} of all were disturbed"
    return _text(timing), _text(peer) if peer else "", compared, "", n + (f"; {timing.note}" if timing.note else "")


def _text(timing: Timing) -> str:
    error = f" ±{50 * (timing.bounds[1] - timing.bounds[0]) / timing.ratio:.1f} %" if timing.bounds else ""
    inside = (
        "no device time" if timing.device_ms is None else f"{timing.device_ms:.3f} ms (p95 {timing.device_p95_ms:.3f})"
    )
    return f"{timing.ms:.3f} ms{error} (p95 {timing.p95 * timing.yardstick_ms:.3f}), {inside}"


if __name__ == "__main__":
    main(sys.argv[1:])
