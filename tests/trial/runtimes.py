"""Runtimes of the runner's tests, which cross to its process as their sources alone, and looks at processes."""

import contextlib
import time
from pathlib import Path

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper

from tricksearch.contract import Deployable, Runtime
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.measuring.stopwatch import Timing

SHAPE = (3, 4, 4)
PIXELS = np.random.default_rng(0).integers(0, 256, (7, *SHAPE), np.uint8)
QUICK = LatencySettings(seconds=0.1, precision=0.5, block_seconds=0.001, batches=(2,))


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
                end = time.monotonic() + 600
                while not os.path.exists(f"{path}.end") and time.monotonic() < end:
                    time.sleep(0.05)
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


def load_sleeping(path, threads, precision, milliseconds):
    """Takes that long, or longer."""
    import time

    def predict(images):
        time.sleep(milliseconds / 1e3)
        return images.reshape(len(images), -1)[:, :2]

    return predict


def load_on_device(path, threads, precision, wrong):
    """4 ms from outside, next to nothing on a device, which refuses where it is the wrong one."""
    import time

    def predict(images):
        time.sleep(0.004)
        return images.reshape(len(images), -1)[:, :2]

    def on_device(images):
        if wrong:
            raise ValueError(f"not for {len(images)} images")
        return lambda: None

    predict.on_device = on_device
    return predict


def of(function, **options) -> Runtime:
    return Runtime("of the test", function, packages=(), options=options)


def pid_of(runner: Runner, file: Deployable) -> int:
    runner.load(of(load_process), file, 1)
    return int(runner.logits(0, 1)[0, 0])


def use(runner: Runner, runtime: Runtime, file: Deployable, timed: bool = False) -> None:
    if timed:
        time_one(runner, runtime, file)
    else:
        runner.load(runtime, file, 1)
        runner.logits(0, 1)


def linear_net(path: Path, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Deployable:
    """A linear net as an ONNX file; the seed says with which weights."""
    random = np.random.default_rng(seed)
    weight = numpy_helper.from_array(random.normal(0, 1, (int(np.prod(shape)), 5)).astype(np.float32), "w")
    nodes = [helper.make_node("Flatten", ["images"], ["x"]), helper.make_node("MatMul", ["x", "w"], ["logits"])]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
        for name, size in (("images", ["n", *shape]), ("logits", ["n", 5]))
    ]
    made = helper.make_graph(nodes, "net", values[:1], values[1:], [weight])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Deployable(path)


def time_one(
    runner: Runner,
    runtime: Runtime,
    file: Deployable,
    settings: LatencySettings = QUICK,
    shape: tuple[int, ...] = SHAPE,
) -> Timing:
    """The timing of one deployable beside a linear net; `shape` is that of the runner's images."""
    runner.load_to_time([(runtime, file)], linear_net(file.path.with_name("plain.onnx"), shape=shape), settings)
    (timing,) = runner.time(settings)
    return timing


def still_runs(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def ends(pid: int, seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while still_runs(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not still_runs(pid)
