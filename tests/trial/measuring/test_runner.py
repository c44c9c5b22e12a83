"""The runner: what a deployable gives in a process of its own, how long it takes there, and what is left behind."""

import contextlib
import gc
import os
from collections import Counter

import numpy as np
import pytest
import torch

from tests.trial.runtimes import (
    PIXELS,
    QUICK,
    linear_net,
    load_counting,
    load_heavy,
    load_means,
    load_misfit,
    load_noted,
    load_on_device,
    load_process,
    load_reader,
    load_sleeping,
    load_talkative,
    of,
    pid_of,
    still_runs,
    time_one,
)
from tricksearch.contract import Deployable, NotApplicable, Runtime, TrialError
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.measuring.runner_process import FEWEST, MOST
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME, load

MIB = 2**20


@pytest.fixture
def graph(tmp_path):
    """A linear net as an ONNX file; the seed says with which weights."""
    return lambda seed: linear_net(tmp_path / f"{seed}.onnx", seed)


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
    with pytest.raises(TrialError, match=r"^no deployable is loaded$"):
        runner.logits(0, 1)
    runner.load(ONNX_RUNTIME, graph(0), 1)
    assert runner.logits(0, 1).shape == (1, 5)


def test_timing_fills_its_batches_and_tells_every_measure(runner, tmp_path):
    deployable = Deployable(tmp_path / "calls")
    deployable.path.touch()
    settings = LatencySettings(batch=10, batches=(1, 9), seconds=0.05, precision=0.5, block_seconds=0.001)
    timing = time_one(runner, of(load_counting), deployable, settings)
    calls = [line.split() for line in deployable.path.read_text().splitlines()]
    last = {"1": PIXELS[0], "9": PIXELS[1], "10": PIXELS[2]}  # of 7 images
    assert {size for size, _ in calls} == set(last)
    assert all(float(value) == pytest.approx(last[size][0, 0, 0] / 255, abs=1e-6) for size, value in calls)
    assert 0 < timing.p95 <= timing.p99
    assert timing.ms > 0
    assert timing.ratio > 0
    assert timing.baseline_ms == timing.yardstick_ms > 0
    assert timing.fastest_ms > 0
    assert 1 <= len(timing.copies) <= MOST
    assert 0 < timing.rounds <= timing.runs < len(calls)
    assert 0 <= timing.disturbed <= 1
    assert timing.throughput.keys() == {"1", "9"}
    assert all(value > 0 for value in timing.throughput.values())


def test_a_small_file_is_loaded_more_often_than_a_large_one(runner, tmp_path):
    counts = []
    for mebibytes in (0, 10, 100):
        deployable = Deployable(tmp_path / f"{mebibytes}")
        with deployable.path.open("wb") as file:
            file.truncate(mebibytes * MIB)
        patient = QUICK.model_copy(update={"seconds": 60.0})  # as long as loading may take
        files = [(of(load_noted), deployable), (of(load_means), deployable)]  # of one file, the memory is taken too
        runner.load_to_time(files, linear_net(tmp_path / "plain.onnx"), patient)
        counts.append(len((tmp_path / f"{mebibytes}.loads").read_text().splitlines()))
    assert counts == [MOST, 4, FEWEST]


def test_a_file_that_takes_long_to_load_is_loaded_a_few_times(runner, file):
    """As long as loading takes no longer than rounds may."""
    files = [(of(load_noted), file), (of(load_means), file)]
    hasty = QUICK.model_copy(update={"seconds": 1e-9})
    runner.load_to_time(files, linear_net(file.path.with_name("plain.onnx")), hasty)
    assert len(file.path.with_name("deployable.loads").read_text().splitlines()) == FEWEST


def test_several_files_are_timed_together_in_their_order(runner, file, tmp_path):
    files = [(of(load_sleeping, milliseconds=value), file) for value in (6.0, 2.0, 4.0)]
    settings = LatencySettings(seconds=0.2, precision=0.5, block_seconds=0.001)
    runner.load_to_time(files, linear_net(tmp_path / "plain.onnx"), settings)
    timings = runner.time(settings)
    assert all(timing.ms > least for timing, least in zip(timings, (6.0, 2.0, 4.0), strict=True))
    assert len({timing.rounds for timing in timings}) == 1, "in the same rounds"
    assert {timing.memory_bytes for timing in timings} == {None}, "of several, none is told"


def test_what_is_scored_is_not_timed_and_what_is_timed_is_not_scored(runner, file):
    runner.load(of(load_means), file, 1)
    with pytest.raises(TrialError, match="no deployable is loaded to be timed"):
        runner.time(QUICK)
    time_one(runner, of(load_means), file)
    with pytest.raises(TrialError, match="no deployable is loaded"):
        runner.logits(0, 1)
    assert len(runner.time(QUICK)) == 1, "it is still loaded to be timed"


def test_a_baseline_that_cannot_be_loaded_is_a_reason(runner, file):
    damaged = Deployable(file.path.with_name("damaged.onnx"))
    damaged.path.write_bytes(b"no graph")
    with pytest.raises(TrialError, match="the runtime cannot load the file"):
        runner.load_to_time([(of(load_means), file)], damaged, QUICK)


def test_times_on_a_device_come_back_too(runner, file):
    timing = time_one(runner, of(load_on_device, wrong=False), file)
    assert 0 < timing.device_ms < 4.0 <= timing.ms
    assert timing.note == ""
    timing = time_one(runner, of(load_on_device, wrong=True), file)
    assert timing.device_ms is None
    assert timing.note == "no device times: ValueError: not for 1 images"
    assert timing.ms >= 4.0


def test_a_gpu_that_is_not_there_is_a_reason(runner, file):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(TrialError, match=r"the runtime cannot run the file: .*(CUDA|NVIDIA|cuda)"):
        time_one(runner, Runtime("of the test", load_means, packages=(), device="cuda"), file)


def test_memory_is_that_of_the_deployable_and_not_of_its_library(runner, file):
    found = []
    for mebibytes in (40, 4, 40):
        found.append(time_one(runner, of(load_heavy, mebibytes=mebibytes), file).memory_bytes)
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
    time_one(runner, of(load_means), file)  # it imports ONNX Runtime, whose reporting would leave a file
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


def load_breaking(path, threads, precision):
    import sys

    sys.device_is_broken = True
    raise RuntimeError("CUDA failure 700: an illegal memory access was encountered ; GPU=0")


def load_where_sound(path, threads, precision):
    import sys

    if getattr(sys, "device_is_broken", False):
        raise RuntimeError("CUDA failure 700: an illegal memory access was encountered ; GPU=0")
    return lambda images: images.mean(axis=(2, 3))


def load_too_large(path, threads, precision):
    raise RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 68719476736")


def test_a_fault_of_the_device_costs_the_next_file_nothing(runner, file):
    with pytest.raises(TrialError, match="cannot load the file: RuntimeError: CUDA failure 700"):
        runner.load(Runtime("of the test", load_breaking, packages=()), file, 1)
    runner.load(Runtime("of the test", load_where_sound, packages=()), file, 1)
    assert runner.logits(0, 1).shape[0] == 1


def test_a_runtime_that_ran_out_of_memory_says_so_in_its_own_words(runner, file):
    with pytest.raises(MemoryError, match="Failed to allocate memory"):
        runner.load(Runtime("of the test", load_too_large, packages=()), file, 1)
