"""PyTorch on CUDA: its program and its plain path on the CPU, anywhere; the rest needs a GPU."""

import ctypes
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.gpu import needs_gpu
from tricksearch import NotApplicable
from tricksearch.contract import discover
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME

TRICK = discover()["torch_cuda"]
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 5e-3}  # shares of the largest logit
QUICK = LatencySettings(seconds=1.0, precision=0.1, batches=(4,))


@pytest.fixture
def deployed(bench, small_net, to_onnx):
    """The small net as the trick writes it for a precision, and as an ONNX graph."""

    def made(precision):
        graph = to_onnx(small_net(), bench.folder / "net.onnx")
        return TRICK().deploy(replace(graph, precision=precision), bench), graph

    return made


@pytest.fixture
def timed(bench, small_net, to_onnx, runner):
    """Time a deployable beside the small net in ONNX Runtime, as a trial does."""

    def one(runtime, deployable):
        plain = to_onnx(small_net(), bench.folder / "plain.onnx")
        runner.load_to_time([(runtime, deployable)], plain, QUICK)
        (timing,) = runner.time(QUICK)
        return timing

    return one


def error_of(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_program_computes_the_nets_logits_from_its_source_alone(precision, deployed, bench, run):
    """In the runner's process, to which nothing but the source of `load` crosses; the CPU stands in for the GPU."""
    program, graph = deployed(precision)
    runtime = TRICK().runtime(ONNX_RUNTIME, bench)
    on_cpu = replace(runtime, options={**runtime.options, "device": "cpu"}, device="cpu")
    error = error_of(run(on_cpu, program), run(ONNX_RUNTIME, graph))
    assert error <= TOLERANCE[precision]
    assert precision == "fp32" or error > 1e-6, "float32 was computed in"


def test_what_was_done_to_the_graph_is_refused(deployed):
    with pytest.raises(NotApplicable, match="quantized is a change of the ONNX graph"):
        deployed("quantized")


def test_half_precision_halves_the_file(deployed):
    sizes = {precision: deployed(precision)[0].path.stat().st_size for precision in TOLERANCE}
    assert sizes["bf16"] == pytest.approx(sizes["fp16"], rel=0.05)
    assert sizes["fp16"] < 0.75 * sizes["fp32"]


def test_without_a_driver_or_a_gpu_it_says_so(monkeypatch):
    def absent(*_: object) -> None:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert TRICK.unavailable() == "there is no driver of NVIDIA"
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    assert TRICK.unavailable() == "there is no GPU that CUDA can use"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert TRICK.unavailable() is None


@needs_gpu
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("replay", [False, True])
def test_logits_on_the_gpu(replay, precision, deployed, bench, run):
    program, graph = deployed(precision)
    got = run(TRICK(replay=replay).runtime(ONNX_RUNTIME, bench), program)  # batches of 5 and of 1
    error = error_of(got, run(ONNX_RUNTIME, graph))
    assert error <= TOLERANCE[precision]
    assert precision == "fp32" or error > 1e-6, "float32 was computed in"


@needs_gpu
def test_a_replayed_graph_sees_each_batch_anew(deployed, bench, runner):
    program, _ = deployed("fp32")
    runner.load(TRICK(replay=True).runtime(ONNX_RUNTIME, bench), program, 1)
    first, second = runner.logits(0, 5), runner.logits(5, 10)
    assert error_of(second, first) > 1e-3
    np.testing.assert_array_equal(runner.logits(0, 5), first)


@needs_gpu
def test_eager_and_replay_are_timed_by_host_and_by_device(deployed, bench, timed):
    program, _ = deployed("fp32")
    timings = []
    for replay in (False, True):
        timings.append(timed(TRICK(replay=replay).runtime(ONNX_RUNTIME, bench), program))
    for timing in timings:
        assert "no device times" not in timing.note
        assert 0 < timing.device_ms <= timing.device_p95_ms
        assert timing.device_ms < timing.ms * 1.5
        assert timing.throughput.keys() == {"4"}
    eager, replay = timings
    assert replay.device_ms < eager.device_ms, "so small a net is bound by the starting of its kernels"


@needs_gpu
def test_onnx_runtime_on_the_gpu_has_device_times(bench, small_net, to_onnx, timed):
    trick = discover()["onnxruntime_gpu"]
    if reason := trick.unavailable():
        pytest.skip(reason)
    graph = to_onnx(small_net(), bench.folder / "net.onnx")
    timing = timed(trick().runtime(ONNX_RUNTIME, bench), graph)
    assert "no device times" not in timing.note
    assert 0 < timing.device_ms < timing.ms * 1.5
