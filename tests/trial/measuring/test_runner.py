"""The runner: what a deployable gives in a process of its own, how long it takes there, and what is left behind."""

import contextlib
import gc
import os
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.trial.runtimes import (
    PIXELS,
    QUICK,
    SHAPE,
    load_counting,
    load_heavy,
    load_means,
    load_misfit,
    load_on_device,
    load_process,
    load_reader,
    load_talkative,
    of,
    pid_of,
    still_runs,
)
from tricksearch.contract import Deployable, NotApplicable, Runtime, TrialError
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME, load

MIB = 2**20


@pytest.fixture
def graph(tmp_path):
    """A linear net as an ONNX file; the seed says with which weights."""

    def write(seed: int) -> Deployable:
        random = np.random.default_rng(seed)
        weight = numpy_helper.from_array(random.normal(0, 1, (48, 5)).astype(np.float32), "w")
        nodes = [helper.make_node("Flatten", ["images"], ["x"]), helper.make_node("MatMul", ["x", "w"], ["logits"])]
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("images", ["n", *SHAPE]), ("logits", ["n", 5]))
        ]
        made = helper.make_graph(nodes, "net", values[:1], values[1:], [weight])
        path = tmp_path / f"{seed}.onnx"
        onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return Deployable(path)

    return write


def test_logits_are_those_of_the_file_in_its_runtime(runner, graph):
    for seed in (0, 1):  # the second in place of the first
        deployable = graph(seed)
        runner.load(ONNX_RUNTIME, deployable, 1)
        expected = load(ONNX_RUNTIME, deployable, 1)(PIXELS.astype(np.float32) / np.float32(255))
        got = np.concatenate([runner.logits(0, 3), runner.logits(3, 7)])
        assert got.dtype == np.float32
        assert got.shape == (7, 5)
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_threads_and_options_reach_the_runtime(runner, file):
    means = PIXELS.mean((1, 2, 3)) / 255
    runner.load(of(load_means, shift=0.5), file, 3)
    np.testing.assert_allclose(runner.logits(2, 5), np.stack([means[2:5], np.full(3, 3.5)], 1), rtol=1e-5)
    runner.load(Runtime("one thread", load_means, packages=(), threads=1), file, 3)
    assert runner.logits(0, 1)[0, 1] == 1.0


def test_a_file_that_the_runtime_does_not_take_is_not_applicable(runner, tmp_path):
    with pytest.raises(NotApplicable, match="reads onnx"):
        runner.load(ONNX_RUNTIME, Deployable(tmp_path / "x", format="other"), 1)
    with pytest.raises(NotApplicable, match="asks for bf16"):
        runner.load(ONNX_RUNTIME, Deployable(tmp_path / "x", precision="bf16"), 1)


def test_a_file_that_is_damaged_says_so(runner, file, graph):
    file.path.write_bytes(b"no graph")
    with pytest.raises(TrialError, match=r"the runtime cannot load the file: \w*InvalidProtobuf: .*deployable"):
        runner.load(ONNX_RUNTIME, file, 1)
    with pytest.raises(TrialError, match="cannot run the file: no deployable is loaded"):
        runner.logits(0, 1)
    runner.load(ONNX_RUNTIME, graph(0), 1)
    assert runner.logits(0, 1).shape == (1, 5)


def test_timing_fills_its_batches_and_tells_every_measure(runner, tmp_path):
    deployable = Deployable(tmp_path / "calls")
    runner.load(of(load_counting), deployable, 1)
    timing = runner.time(LatencySettings(batch=10, batches=(1, 9), blocks=3, block_seconds=0.005))
    calls = [line.split() for line in deployable.path.read_text().splitlines()]
    last = {"1": PIXELS[0], "9": PIXELS[1], "10": PIXELS[2]}  # of 7 images
    assert {size for size, _ in calls} == set(last)
    assert all(float(value) == pytest.approx(last[size][0, 0, 0] / 255, abs=1e-6) for size, value in calls)
    assert 0 < timing.median_ms <= timing.p95_ms <= timing.p99_ms
    assert timing.runs >= 15
    assert timing.throughput.keys() == {"1", "9"}
    assert all(value > 0 for value in timing.throughput.values())
    assert timing.attempts >= 1
    assert timing.drift > 0
    assert timing.spread >= 0
    assert runner.logits(0, 2).shape == (2, 2)  # still loaded


def test_times_on_a_device_come_back_too(runner, file):
    runner.load(of(load_on_device, wrong=False), file, 1)
    timing = runner.time(QUICK)
    assert 0 < timing.device_ms < 4.0 <= timing.median_ms
    assert timing.note == ""
    runner.load(of(load_on_device, wrong=True), file, 1)
    timing = runner.time(QUICK)
    assert timing.device_ms is None
    assert timing.note == "no device times: ValueError: not for 1 images"
    assert timing.median_ms >= 4.0


def test_a_gpu_that_is_not_there_is_a_reason(runner, file):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    runner.load(Runtime("of the test", load_means, packages=(), device="cuda"), file, 1)
    with pytest.raises(TrialError, match=r"the runtime cannot run the file: .*(CUDA|NVIDIA|cuda)"):
        runner.time(QUICK)


def test_memory_is_that_of_the_deployable_and_not_of_its_library(runner, file):
    found = []
    for mebibytes in (40, 4, 40):
        runner.load(of(load_heavy, mebibytes=mebibytes), file, 1)
        found.append(runner.time(QUICK).memory_bytes)
    if None in found:
        pytest.skip("this system does not tell the peak of a process's memory")
    assert found == pytest.approx([40 * MIB, 4 * MIB, 40 * MIB], abs=2 * MIB)


def test_what_a_library_prints_reaches_the_log_and_not_the_protocol(runner, file, capfd):
    runner.load(of(load_talkative), file, 1)
    np.testing.assert_allclose(runner.logits(0, 7), PIXELS.reshape(7, -1)[:, :2] / 255, rtol=1e-6)
    runner.close()
    out, err = capfd.readouterr()
    assert out == ""
    for line in ("printed in load", "printed in predict", "written", "put", "from a command"):
        assert err.splitlines().count(line) in (1, 2), err


def test_a_library_that_reads_standard_input_finds_nothing(runner, file):
    (reads, writes), kept = os.pipe(), os.dup(0)
    os.write(writes, b"typed by a person")
    os.close(writes)
    os.dup2(reads, 0)
    try:
        runner.load(of(load_reader), file, 1)
        assert (runner.logits(0, 1) == 0).all()
    finally:
        os.dup2(kept, 0)
        for each in (reads, kept):
            os.close(each)


def test_the_process_is_like_its_parent_and_light(runner, file):
    runner.load(of(load_process), file, 1)
    _, nice, cores, *heavy = runner.logits(0, 1)[0]
    assert nice == os.getpriority(os.PRIO_PROCESS, 0)
    assert cores == np.float32(sum(1 << core for core in os.sched_getaffinity(0)))
    assert heavy == [0.0, 0.0]  # neither torch nor ray


def open_files() -> Counter:
    """How many this process has of each kind, but for those that libraries open and close as they like."""
    kinds = []
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            kinds.append(os.readlink(f"/proc/self/fd/{each}").split(":[")[0])
    return Counter(kind for kind in kinds if kind == "socket" or "tricksearch" in kind)


def test_nothing_is_left(tmp_path, file, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    gc.collect()
    files = open_files()
    runner = Runner(PIXELS)
    first = pid_of(runner, file)
    runner.time(QUICK)  # it imports ONNX Runtime, whose reporting would leave a file
    runner.close()
    runner.close()
    assert not still_runs(first)
    second = pid_of(runner, file)  # it starts again where it is asked again
    assert still_runs(second)
    assert second != first
    with pytest.raises(TrialError):
        runner.load(of(load_misfit, how="segfault", when="load"), file, 1)
    third = pid_of(runner, file)
    del runner
    gc.collect()
    assert not still_runs(third)
    assert open_files() <= files
    assert list(scratch.iterdir()) == []


def test_many_open_files_do_not_matter(runner, file):
    """`select` knows no file above 1,024."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 1400:
        pytest.skip("this system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 1400), limits[1]))
    some = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert runner.load(of(load_means), file, 1) is None
        assert runner.logits(0, 1).shape == (1, 2)
    finally:
        for each in some:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_large_answers_cross_whole(tmp_path, file):
    pixels = np.random.default_rng(1).integers(0, 256, (300, 3, 64, 64), np.uint8)
    runner = Runner(pixels)
    runner.load(of(load_misfit, how="none", when="never"), file, 1)
    np.testing.assert_array_equal(runner.logits(0, 300), (pixels.astype(np.float32) / np.float32(255)).reshape(300, -1))
    runner.close()
