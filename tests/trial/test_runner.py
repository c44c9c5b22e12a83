"""The runner: real processes, real crashes. Whatever a runtime does, the next deployable is served."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import onnx
import psutil
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tricksearch.contract import Deployable, NotApplicable, Runtime, TrialError
from tricksearch.trial import runner as module
from tricksearch.trial.runner import Runner
from tricksearch.trial.runtimes import ONNX_RUNTIME, load
from tricksearch.trial.settings import LatencySettings

SHAPE = (3, 4, 4)
PIXELS = np.random.default_rng(0).integers(0, 256, (7, *SHAPE), np.uint8)
QUICK = LatencySettings(blocks=3, block_seconds=0.005, batches=(1, 2))
MIB = 2**20


@pytest.fixture
def runner():
    made = Runner(PIXELS)
    yield made
    made.close()


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


# Runtimes of the tests. Their sources are all that crosses to the process.


def load_means(path, threads, precision, shift=0.0):
    """Two logits an image: its mean, and the options that it was loaded with."""
    import numpy

    return lambda images: numpy.stack([images.mean((1, 2, 3)), images.mean((1, 2, 3)) * 0 + threads + shift], 1)


def load_process(path, threads, precision):
    """What the process is, as logits."""
    import os
    import sys

    import numpy

    mask = sum(1 << core for core in os.sched_getaffinity(0))
    known = (os.getpid(), os.getpriority(os.PRIO_PROCESS, 0), mask, "torch" in sys.modules, "ray" in sys.modules)
    return lambda images: numpy.tile(numpy.array(known, numpy.float32), (len(images), 1))


def load_talkative(path, threads, precision):
    import ctypes
    import os
    import sys

    def say(when):
        print(f"printed {when}")
        sys.stdout.write('{"logits": ""}\n')
        sys.stdout.flush()
        os.write(1, b"written\n")
        ctypes.CDLL(None).puts(b"put")
        ctypes.CDLL(None).fflush(None)
        os.system("echo from a command")

    say("in load")

    def predict(images):
        say("in predict")
        return images.reshape(len(images), -1)[:, :2]

    return predict


def load_reader(path, threads, precision):
    import os
    import sys

    import numpy

    read = [len(sys.stdin.read()), len(os.read(0, 10))]
    return lambda images: numpy.tile(numpy.array(read, numpy.float32), (len(images), 1))


def load_misfit(path, threads, precision, how, when):
    """Ends in the way that is asked for, when it is loaded or when it is run."""
    import ctypes
    import os
    import sys
    import threading
    import time

    def act():
        if how == "segfault":
            ctypes.string_at(0)
        if how == "abort":
            os.abort()
        if how == "kill":
            os.kill(os.getpid(), 9)
        if how == "real-time signal":
            os.kill(os.getpid(), 40)
        if how == "exit":
            os._exit(3)
        if how == "sys.exit":
            sys.exit(4)
        if how == "segfault, with a child that lives on":
            if os.fork() == 0:
                time.sleep(40)
                os._exit(0)
            ctypes.string_at(0)
        if how == "error":
            raise RuntimeError("the operator 'Frobnicate' is\nnot known")
        if how == "memory":
            raise MemoryError("no 64 GiB")
        if how == "allocate":
            bytearray(1 << 60)
        if how == "hang":
            threading.Event().wait()

    if when == "load":
        act()

    def predict(images):
        act()
        return images.reshape(len(images), -1)

    return predict


def load_heavy(path, threads, precision, mebibytes):
    """Holds that much, in small pieces; the first run in a process takes three times as much, as a library's does."""
    import sys

    import numpy

    weights = [numpy.ones(2**16, numpy.uint8) for _ in range(16 * mebibytes)]
    sys.modules.setdefault("pins", []).append(numpy.ones(2**11, numpy.uint8))  # behind them, so that they stay a hole

    def predict(images):
        if "library" not in sys.modules:
            sys.modules["library"] = numpy.ones(3 * mebibytes * 2**20, numpy.uint8)
        return images.reshape(len(images), -1)[:, :2] + weights[0][0]

    return predict


def load_counting(path, threads, precision):
    """Fast, and it writes down the batch sizes that it is run on."""

    def predict(images):
        with open(path, "a") as file:
            file.write(f"{len(images)} {images[-1, 0, 0, 0]:.6f}\n")
        return images.reshape(len(images), -1)[:, :2]

    return predict


def load_on_device(path, threads, precision, wrong):
    """4 ms from outside; 1 ms on a device, which is not there for the asking where it is the wrong one."""
    import time

    def predict(images):
        time.sleep(0.004)
        return images.reshape(len(images), -1)[:, :2]

    def on_device(images):
        if wrong:
            raise ValueError(f"not for {len(images)} images")
        return lambda: time.sleep(0.001)

    predict.on_device = on_device
    return predict


def of(function, **options) -> Runtime:
    return Runtime("of the test", function, packages=(), options=options)


@pytest.fixture
def file(tmp_path) -> Deployable:
    path = tmp_path / "deployable"
    path.touch()
    return Deployable(path)


def pid_of(runner: Runner, file: Deployable) -> int:
    runner.load(of(load_process), file, 1)
    return int(runner.logits(0, 1)[0, 0])


def use(runner: Runner, runtime: Runtime, file: Deployable, timed: bool = False) -> None:
    runner.load(runtime, file, 1)
    if timed:
        runner.time(QUICK)
    else:
        runner.logits(0, 1)


def still_runs(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def ends(pid: int, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while still_runs(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not still_runs(pid)


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
    assert 1.0 <= timing.device_ms < 4.0 <= timing.median_ms
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


FATES = {
    "segfault": "crashed with SIGSEGV",
    "abort": "crashed with SIGABRT",
    "kill": "crashed with SIGKILL, as where memory runs out",
    "real-time signal": "crashed with signal 40",
    "exit": "ended its process with exit code 3",
    "sys.exit": "ended its process with exit code 4",
    "segfault, with a child that lives on": "crashed with SIGSEGV",
}


@pytest.mark.parametrize(
    ("how", "when"), [*((how, "logits") for how in FATES), ("segfault", "load"), ("segfault", "time")]
)
def test_a_crash_costs_the_deployable_and_not_the_runner(runner, file, how, when):
    before = pid_of(runner, file)
    start = time.monotonic()
    with pytest.raises(TrialError) as caught:
        use(runner, of(load_misfit, how=how, when=when), file, timed=when == "time")
    assert time.monotonic() - start < 30
    assert str(caught.value) == f"the runtime {FATES[how]}"
    with pytest.raises(TrialError, match="no deployable is loaded"):
        runner.logits(0, 1)
    assert pid_of(runner, file) != before
    assert not still_runs(before)


@pytest.mark.parametrize("when", ["load", "run"])
@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("error", TrialError, "cannot {} the file: RuntimeError: the operator 'Frobnicate' is\nnot known"),
        ("memory", MemoryError, "out of memory: no 64 GiB"),
        ("allocate", MemoryError, "out of memory"),
    ],
)
def test_an_error_is_told_and_the_process_goes_on(runner, file, how, kind, text, when):
    before = pid_of(runner, file)
    with pytest.raises(kind) as caught:
        use(runner, of(load_misfit, how=how, when=when), file)
    assert text.format(when) in str(caught.value)
    assert pid_of(runner, file) == before


def test_the_traceback_of_an_error_goes_to_the_log(runner, file, capfd):
    with pytest.raises(TrialError):
        runner.load(of(load_misfit, how="error", when="load"), file, 1)
    assert "<load_misfit>" in capfd.readouterr().err


def test_a_runtime_that_hangs_is_given_up(runner, file, monkeypatch):
    before = pid_of(runner, file)
    runner.load(of(load_misfit, how="hang", when="run"), file, 1)
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    with pytest.raises(TrialError, match="the runtime gave no answer in 0 s"):
        runner.logits(0, 1)
    monkeypatch.undo()
    assert not still_runs(before)
    assert pid_of(runner, file) != before


def test_an_interrupt_leaves_no_stale_answer_behind(runner, file):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    runner.load(of(load_misfit, how="hang", when="run"), file, 1)
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            runner.logits(0, 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    runner.load(of(load_means, shift=0.25), file, 1)
    assert runner.logits(0, 2)[:, 1].tolist() == [1.25, 1.25]


def test_the_interrupt_of_a_terminal_is_the_trials_business(runner, file):
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # one that ignores it would be inherited
    try:
        pid = pid_of(runner, file)
        os.kill(pid, signal.SIGINT)
        time.sleep(0.2)
        assert runner.logits(0, 1)[0, 0] == pid
    finally:
        signal.signal(signal.SIGINT, handler)


def test_the_process_is_like_its_parent_and_light(runner, file):
    runner.load(of(load_process), file, 1)
    _, nice, cores, *heavy = runner.logits(0, 1)[0]
    assert nice == os.getpriority(os.PRIO_PROCESS, 0)
    assert cores == np.float32(sum(1 << core for core in os.sched_getaffinity(0)))
    assert heavy == [0.0, 0.0]  # neither torch nor ray


PARENT = """
import sys
import numpy as np
from pathlib import Path
from tricksearch.contract import Deployable, Runtime
from tricksearch.trial.runner import Runner
sys.path.insert(0, sys.argv[1])
from runtime_of_parent import load_then

runner = Runner(np.zeros((2, 1, 2, 2), np.uint8))
runner.load(Runtime("x", load_then, packages=(), options={"how": sys.argv[3]}), Deployable(Path(sys.argv[2])), 1)
print(int(runner.logits(0, 1)[0, 0]), int(runner.logits(0, 1)[0, 1]), flush=True)
if sys.argv[3] == "idle":
    sys.stdin.read()
runner.logits(0, 2)
"""
RUNTIME = """
def load_then(path, threads, precision, how):
    import ctypes
    import os

    import numpy

    def predict(images):
        if len(images) == 2:
            open(path, "w").close()
            while how == "python":
                pass
            ctypes.PyDLL(None).sleep(60)  # holds the interpreter's lock, so that no thread of Python's can act
        return numpy.array([[os.getpid(), os.getpriority(os.PRIO_PROCESS, 0)]], numpy.float64)

    return predict
"""


@pytest.mark.parametrize("how", ["idle", "python", "library"])
def test_the_process_ends_with_a_parent_that_is_killed(tmp_path, how):
    (tmp_path / "runtime_of_parent.py").write_text(RUNTIME)
    busy = tmp_path / "busy"
    nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 3)
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.nice(3)\n{PARENT}", str(tmp_path), str(busy), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        try:
            pid, found = map(int, parent.stdout.readline().split())
            assert found == nice
            while how != "idle" and not busy.exists():
                assert parent.poll() is None
                time.sleep(0.01)
            assert still_runs(pid)
        finally:
            parent.kill()
    assert ends(pid)


def test_a_process_that_comes_too_late_for_its_parent_ends(tmp_path):
    """Between the start and the call that binds it to its parent's life, the parent may have died."""
    wire = os.pipe()[1]
    ended = subprocess.run(
        [sys.executable, "-m", "tricksearch.trial.runner", "[1]", "0", str(wire), "-1"],
        check=False,
        pass_fds=[wire],
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(wire)
    assert ended.returncode == 1
    assert "is gone" in ended.stderr


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
