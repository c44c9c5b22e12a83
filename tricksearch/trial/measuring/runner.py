"""The runner: a process of its own that loads deployables, computes their logits and times them.

It is started once and serves one deployable after another. It imports no trick, and torch only to time a GPU: all
that it is given is the source of a runtime's `load`, the same text that ships with an exported folder. Where a runtime
crashes, the runner dies and the trial goes on to say so; the next deployable gets a new runner.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tricksearch.contract import Deployable, Runtime, TrialError
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME, check_fit, source_of
from tricksearch.trial.measuring.stopwatch import Timing

PATIENCE = 900.0  # seconds for one answer: a runtime that compiles may take minutes, one that hangs takes for ever
GLANCE = 1.0  # seconds between two looks whether the process is still there
ENDING = 60.0  # seconds that a process may take to end once its side is closed, on a machine that is busy
MOST_TOGETHER = 32  # files that are timed together, as far as an answer's time goes
SILENT = {"ORT_DISABLE_TELEMETRY": "1"}  # ONNX Runtime reads it when it is imported, and sends reports without it
Array = np.ndarray[Any, Any]


class Runner:
    """Holds images uint8 (N, C, H, W) and a process that runs deployables on them.

    The process ends with the thread that first asked it for something. Its nice level and its cores are that
    thread's, so that a latency is comparable with every other that the same worker takes.
    """

    def __init__(self, pixels: Array) -> None:
        # In memory without a name, so that nothing is left behind by a process that is killed.
        self._memory = os.memfd_create("tricksearch-images", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(self._memory), "wb") as file:
            file.write(np.ascontiguousarray(pixels, np.uint8).data)
        self._shape = list(pixels.shape)
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: socket.socket | None = None

    def load(self, runtime: Runtime, deployable: Deployable, threads: int) -> None:
        """Load a deployable in place of the one before.

        Raises NotApplicable where the runtime does not take such files, TrialError where it fails or crashes, and
        MemoryError.
        """
        self._ask("load", file=_file(runtime, deployable, threads))

    def load_to_time(
        self, files: Sequence[tuple[Runtime, Deployable]], baseline: Deployable, settings: LatencySettings
    ) -> None:
        """Load copies of deployables, whose runtimes are of one device, and of the plain net's file, and run each.

        The plain net's copies stay loaded for the next. Raises what `load` raises.
        """
        self._ask(
            "load_to_time",
            PATIENCE * len(files),
            files=[_file(runtime, deployable, settings.threads) for runtime, deployable in files],
            baseline=_file(ONNX_RUNTIME, baseline, settings.threads),
            settings=settings.model_dump(),
        )

    def logits(self, start: int, stop: int) -> Array:
        """Logits float32 (stop - start, K) of the images from `start` to `stop`. Raises TrialError, MemoryError."""
        answer = self._ask("logits", start=start, stop=stop)
        return np.frombuffer(base64.b64decode(answer["logits"]), np.float32).reshape(answer["shape"])

    def time(self, settings: LatencySettings, fastest_ms: float | None = None) -> list[Timing]:
        """Time what was loaded to be timed, in the order of its files. Raises TrialError, MemoryError.

        The caller sees to it that the machine is otherwise idle; a GPU that others keep busy is refused. `fastest_ms`
        is the yardstick's time at the machine's fastest, where that is known.
        """
        patience = 2 * settings.seconds * MOST_TOGETHER
        answer = self._ask("time", patience, settings=settings.model_dump(), fastest_ms=fastest_ms)
        return [Timing(**timing | {"copies": tuple(timing["copies"])}) for timing in answer["timings"]]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()
            os.close(self._memory)

    def _ask(self, command: str, work: float = 0.0, **keys: Any) -> dict[str, Any]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        assert self._process is not None  # for the type checker
        assert self._wire is not None
        try:
            patience = PATIENCE + work
            line = _exchange(self._process, self._wire, json.dumps({"command": command, **keys}), patience)
            fate = "" if line else _fate(self._process, patience, late=line is None)
        except BaseException:  # an interrupt: what is asked next must not read this answer
            self.close()
            raise
        if not line:
            self.close()
            raise TrialError(f"the runtime {fate}")
        answer: dict[str, Any] = json.loads(line)
        if answer.get("lost"):
            self.close()  # a device is of no more use in that process: the next file gets another one
        if "refused" in answer:
            raise TrialError(answer["refused"])
        if answer.get("memory"):
            raise MemoryError(answer["error"])
        if "error" in answer:
            raise TrialError(f"the runtime cannot {answer['doing']} the file: {answer['error']}")
        return answer

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            shared = [self._memory, theirs.fileno()]
            arguments = [json.dumps(self._shape), *map(str, (*shared, os.getpid()))]
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-P", "-m", "tricksearch.trial.measuring.runner_process", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a library prints belongs to the log
                pass_fds=shared,
                env=os.environ | SILENT,
            )
        self._wire = ours


def _exchange(process: subprocess.Popen[bytes], wire: socket.socket, line: str, patience: float) -> str | None:
    """Send a line and return the answer: "" where the process has ended or is ending, None where it took too long."""
    poll = select.poll()
    poll.register(wire, select.POLLIN)
    end = time.monotonic() + patience
    try:
        wire.sendall(f"{line}\n".encode())
        # A process that the runtime has forked may hold the wire open when the runner itself is dead.
        while not poll.poll(1e3 * min(GLANCE, patience)):
            if process.poll() is not None:
                return ""
            if time.monotonic() > end:
                return None
        with wire.makefile(encoding="utf-8", newline="\n") as answers:
            answer = answers.readline()
    except ConnectionError:
        return ""
    return answer if answer.endswith("\n") else ""


def _fate(process: subprocess.Popen[bytes], patience: float, late: bool) -> str:
    """What became of a process that gave no answer: in time, where `late`, or at all, since it closed its side."""
    try:
        code = process.wait(GLANCE if late else ENDING)
    except subprocess.TimeoutExpired:
        return f"gave no answer in {patience:.0f} s" if late else "closed its connection without an answer"
    if code >= 0:
        return f"ended its process with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"crashed with {name}" + (", as where memory runs out" if -code == signal.SIGKILL else "")


def _file(runtime: Runtime, deployable: Deployable, threads: int) -> dict[str, Any]:
    """A deployable and what loads it, as plain JSON. Raises NotApplicable where the runtime does not take it."""
    check_fit(runtime, deployable)
    return {
        "source": source_of(runtime),
        "function": runtime.load.__name__,
        "path": str(deployable.path.resolve()),
        "bytes": sum(file.stat().st_size for file in deployable.files),
        "threads": runtime.threads or threads,
        "precision": deployable.precision,
        "options": dict(runtime.options),
        "device": runtime.device,
    }
