"""Each runtime, in the engine's own runner: the same logits, in the precision that was asked for, or a refusal."""

from __future__ import annotations

import builtins
import dis
import importlib.util
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tricksearch import Deployable, NotApplicable, Runtime, TrialError
from tricksearch.contract import PRECISIONS, discover
from tricksearch.records.hardware import usable_cores
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME

TRICKS = discover()
RUNTIMES = [name for name, trick in TRICKS.items() if trick.claims == "runtime"]
# Shares of the largest logit. float32 differs in the order of sums; bf16 and fp16 have 8 and 11 bits; two INT8 engines
# round at other places.
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 5e-3, "quantized": 5e-2}


def available(name: str):
    reason = TRICKS[name].unavailable()
    if reason:
        pytest.skip(reason)
    return TRICKS[name]()


@pytest.fixture
def graph_in(bench, small_net, to_onnx):
    """The small net's graph, asked for in a precision."""

    def made(precision: str) -> Deployable:
        graph = to_onnx(small_net(), bench.folder / "net.onnx")
        if precision == "fp32":
            return graph
        trick = TRICKS["int8"]() if precision == "quantized" else TRICKS["half_precision"](dtype=precision)
        return replace(trick.deploy(graph, bench), precision=precision)

    return made


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", RUNTIMES)
def test_logits_are_those_of_onnx_runtime(name, precision, graph_in, bench, run, tmp_path_factory):
    trick = available(name)
    runtime, graph = trick.runtime(ONNX_RUNTIME, bench), graph_in(precision)
    if precision not in runtime.precisions:
        with pytest.raises(NotApplicable, match=precision):
            run(runtime, trick.deploy(graph, bench))
        return
    expected = run(ONNX_RUNTIME, graph if precision == "quantized" else graph_in("fp32"))
    deployed = trick.deploy(graph, bench)
    assert (deployed.format, deployed.precision) == (runtime.format, precision)
    got = run(runtime, deployed)
    error = np.abs(got - expected).max() / np.abs(expected).max()
    assert error <= TOLERANCE[precision]
    if precision in ("bf16", "fp16"):
        assert error > 1e-6, "float32 was computed in"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    moved = [Path(shutil.move(file, elsewhere)) for file in deployed.files]
    assert np.array_equal(run(runtime, replace(deployed, path=moved[0], beside=tuple(moved[1:]))), got)


@pytest.mark.parametrize("name", RUNTIMES)
def test_load_uses_no_name_of_its_module(name, bench):
    load = available(name).runtime(ONNX_RUNTIME, bench).load
    assert set(globals_of(load.__code__)) <= set(dir(builtins))


def globals_of(code: types.CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from globals_of(inner)


def load_crashing(path: str, threads: int, precision: str):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGSEGV)


def load_crashing_later(path: str, threads: int, precision: str):
    import os
    import signal

    return lambda images: os.kill(os.getpid(), signal.SIGSEGV)


def load_counting(path: str, threads: int, precision: str):
    import numpy

    return lambda images: numpy.full((len(images), 1), threads, numpy.float32)


@pytest.mark.parametrize("load", [load_crashing, load_crashing_later])
def test_a_crash_costs_one_trial(load, graph_in, runner, run):
    graph = graph_in("fp32")
    before = run(ONNX_RUNTIME, graph).copy()
    with pytest.raises(TrialError, match="the runtime crashed with SIGSEGV"):
        run(Runtime("crashing", load, ("numpy",)), graph)
    assert np.array_equal(run(ONNX_RUNTIME, graph), before)


def test_the_thread_count_reaches_the_runtime(graph_in, bench, run, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(3)))
    counting, trick = Runtime("counting", load_counting, ("numpy",)), TRICKS["thread_count"]
    assert (run(counting, graph_in("fp32"), threads=1) == 1).all()
    assert trick.unavailable() is None
    assert (run(trick(count=3).runtime(counting, bench), graph_in("fp32"), threads=1) == 3).all()
    with pytest.raises(NotApplicable, match="4 threads need as many cores, and this process may use 3"):
        trick(count=4).runtime(counting, bench)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5})
    assert "one core" in trick.unavailable()


def test_openvino_is_told_the_threads(graph_in, bench, run):
    trick = available("openvino")
    runtime, deployed = trick.runtime(ONNX_RUNTIME, bench), trick.deploy(graph_in("fp32"), bench)
    one = run(runtime, deployed, 1)
    if usable_cores() == 1:  # OpenVINO takes no more threads than there are cores, and its `load` does not hide that
        with pytest.raises(TrialError, match="asked for INFERENCE_NUM_THREADS = 2 and took 1"):
            run(runtime, deployed, 2)
    else:
        two = run(runtime, deployed, 2)
        np.testing.assert_allclose(one, two, atol=1e-4 * np.abs(one).max())


def test_openvino_sends_nothing(graph_in, bench, tmp_path):
    available("openvino")
    graph = graph_in("fp32")
    home = tmp_path / "home"
    home.mkdir()
    program = f"""
import pathlib, sys
from tricksearch.contract import Deployable, discover
class Bench: folder = pathlib.Path({str(bench.folder)!r})
trick = discover()["openvino"]()
deployed = trick.deploy(Deployable(pathlib.Path({str(graph.path)!r})), Bench)
runtime = trick.runtime(None, Bench)
runtime.load(str(deployed.path), 1, "fp32")
print(sorted(name for name, module in sys.modules.items() if module and name.startswith("openvino_telemetry")))
"""
    # A proxy where nobody listens, should it try; and no word that this is a test, where it keeps quiet by itself.
    quiet = {"CI", "TF_BUILD", "JENKINS_URL"}
    settings = {key: value for key, value in os.environ.items() if key not in quiet}
    settings |= {"HOME": str(home), "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", program], env=settings, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not list(home.rglob("*openvino*")), "it wrote the identity that it reports under"


def test_half_precision_halves_the_file_and_keeps_the_ends(graph_in):
    plain, half = graph_in("fp32"), graph_in("fp16")
    assert half.path.stat().st_size < 0.6 * plain.path.stat().st_size
    graph = onnx.load(half.path).graph
    ends = [end.type.tensor_type.elem_type for end in (*graph.input, *graph.output)]
    assert ends == [onnx.TensorProto.FLOAT] * 2
    assert {weight.data_type for weight in graph.initializer if len(weight.dims) == 4} == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("name", ["torch_eager", "inductor"])
def test_torch_refuses_what_was_done_to_the_graph(name, graph_in, bench):
    trick = available(name)
    with pytest.raises(NotApplicable, match="quantized is a change of the ONNX graph"):
        trick.deploy(graph_in("quantized"), bench)


def test_a_net_that_torch_cannot_follow_is_a_clear_reason(graph_in, bench, small_net, monkeypatch):
    net = small_net()
    plain = net.forward
    net.forward = lambda images: plain(images) if images.sum() > 0 else plain(-images)  # depends on the pixels
    monkeypatch.setattr(bench, "net", lambda: net)
    with pytest.raises(TrialError, match="cannot follow the net") as caught:
        available("torch_eager").deploy(graph_in("fp32"), bench)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_that_does_not_start_is_no_cpu_in_disguise(provider, graph_in, bench, run):
    trick = TRICKS["onnxruntime_gpu"](provider=provider)
    if trick.unavailable() is None:
        pytest.skip("there is a GPU")
    with pytest.raises(TrialError, match="does not start on this machine; left are CPUExecutionProvider"):
        run(trick.runtime(ONNX_RUNTIME, bench), graph_in("fp32"))


def test_what_is_absent_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "pip install 'tricksearch[openvino]'" in TRICKS["openvino"].unavailable()
    assert "pip install 'tricksearch[litert]'" in TRICKS["litert"].unavailable()
    assert "install g++" in TRICKS["inductor"].unavailable()
    assert "onnxruntime-gpu" in TRICKS["onnxruntime_gpu"].unavailable()
