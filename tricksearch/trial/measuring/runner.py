"""The runner: a process of its own that loads deployables, computes their logits and times them.

It is started once and serves one deployable after another. It imports no trick, and torch only to time a GPU: all
that it is given is the source of a runtime's `load`, the same text that ships with an exported folder. Where a runtime
crashes, the runner dies and the trial goes on to say so; the next deployable gets a new runner.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from tricksearch.contract import Deployable, Predictor, Runtime, TrialError
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.measuring import gpu
from tricksearch.trial.measuring.runtimes import check_fit, source_of
from tricksearch.trial.measuring.stopwatch import ATTEMPTS, Timing, added_memory, filled, time_latency

PATIENCE = 900.0  # seconds for one answer: a runtime that compiles may take minutes, one that hangs takes for ever
GLANCE = 1.0  # seconds between two looks whether the process is still there
ENDING = 60.0  # seconds that a process may take to end once its side is closed, on a machine that is busy
PR_SET_PDEATHSIG = 1  # of Linux's prctl
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
        check_fit(runtime, deployable)
        self._ask(
            "load",
            source=source_of(runtime),
            function=runtime.load.__name__,
            path=str(deployable.path.resolve()),
            threads=runtime.threads or threads,
            precision=deployable.precision,
            options=dict(runtime.options),
            device=runtime.device,
        )

    def logits(self, start: int, stop: int) -> Array:
        """Logits float32 (stop - start, K) of the images from `start` to `stop`. Raises TrialError, MemoryError."""
        answer = self._ask("logits", start=start, stop=stop)
        return np.frombuffer(base64.b64decode(answer["logits"]), np.float32).reshape(answer["shape"])

    def time(self, settings: LatencySettings) -> Timing:
        """Time the deployable, and load it once more for its memory. Raises TrialError, MemoryError.

        The caller sees to it that the machine is otherwise idle; a GPU that others keep busy is refused.
        """
        attempt = (2 * settings.blocks + len(settings.batches) + 15) * settings.block_seconds
        answer = self._ask("time", 2 * ATTEMPTS * attempt, settings=settings.model_dump())
        return Timing(**answer["timing"])

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
        if "refused" in answer:
            raise TrialError(answer["refused"])
        if answer.get("memory"):
            raise MemoryError(answer["error"])
        if "error" in answer:
            raise TrialError(f"the runtime cannot {'load' if command == 'load' else 'run'} the file: {answer['error']}")
        return answer

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            shared = [self._memory, theirs.fileno()]
            arguments = [json.dumps(self._shape), *map(str, (*shared, os.getpid()))]
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-P", "-m", "tricksearch.trial.measuring.runner", *arguments],
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


class _Server:
    """The other side: what the runner's process does with a command."""

    def __init__(self, pixels: Array) -> None:
        self._pixels = pixels
        self._job: dict[str, Any] = {}
        self._predictor: Predictor | None = None

    def answer(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer to one command; every error but an exit is an answer too."""
        try:
            if job["command"] == "load":
                self._predictor, self._job = None, job  # the one before gives its memory back first
                self._load()
                return {}
            if self._predictor is None:
                return {"error": "no deployable is loaded"}
            if job["command"] == "logits":
                logits = self._run(_unit(self._pixels[job["start"] : job["stop"]]))
                return {"logits": base64.b64encode(logits.tobytes()).decode(), "shape": list(logits.shape)}
            return {"timing": asdict(self._time(LatencySettings(**job["settings"])))}
        except TrialError as error:
            return {"refused": str(error)}
        except MemoryError as error:
            return {"error": f"out of memory: {error}", "memory": True}
        except Exception as error:
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}"[:2000]}

    def _load(self) -> None:
        job, names = self._job, dict[str, Any]()
        source = f"from __future__ import annotations\n{job['source']}"
        exec(compile(source, f"<{job['function']}>", "exec"), names)  # noqa: S102  # our own process sent it
        self._predictor = names[job["function"]](job["path"], job["threads"], job["precision"], **job["options"])

    def _run(self, images: Array) -> Array:
        assert self._predictor is not None  # for the type checker
        return np.ascontiguousarray(self._predictor(images), np.float32)

    def _time(self, settings: LatencySettings) -> Timing:
        device = self._job["device"]
        note = gpu.wait_for_rest() if device == "cuda" else ""
        images = _unit(self._pixels[: max(settings.batch, *settings.batches)])
        batch = filled(images, settings.batch)
        self._run(batch)  # what the library does only once is none of the deployable's memory
        self._predictor = None

        def again() -> None:
            self._load()
            for _ in range(2):  # some libraries plan their memory in the first run and take it in the second
                self._run(batch)

        memory = added_memory(again)
        assert self._predictor is not None  # for the type checker: it was loaded again
        timing = time_latency(self._predictor, images, settings, device)
        notes = "; ".join(part for part in (note, timing.note) if part)
        return replace(timing, memory_bytes=memory, note=notes)


def end_with(parent: int) -> None:
    """Have the system kill this process when the parent that started it ends, whatever it is doing then."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:  # it ended before the call
        sys.exit(f"the process {parent}, which started this one, is gone")


def _unit(pixels: Array) -> Array:
    return pixels.astype(np.float32) / np.float32(255.0)


def main(arguments: Sequence[str]) -> None:
    """Serve commands, one JSON line each, until the other side is gone."""
    shape, (memory, wire, parent) = json.loads(arguments[0]), map(int, arguments[1:])
    end_with(parent)  # the end of the wire tells it only between two commands, and a busy library may never look
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the trial decides what ends
    server = _Server(np.frombuffer(mmap.mmap(memory, 0, prot=mmap.PROT_READ), np.uint8).reshape(shape))
    for file in (memory, wire):
        os.set_inheritable(file, False)
    with socket.socket(fileno=wire).makefile("rw", encoding="utf-8", newline="\n") as lines:
        for line in iter(lines.readline, ""):
            lines.write(json.dumps(server.answer(json.loads(line))) + "\n")
            lines.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
