"""The runner's process: loads deployables, computes their logits and times them, one command after another.

It imports no trick, and torch only to time a GPU: all that it is given is the source of a runtime's `load`.
"""

from __future__ import annotations

import base64
import ctypes
import json
import mmap
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import psutil

from tricksearch.contract import Predictor, TrialError
from tricksearch.records.settings import LatencySettings
from tricksearch.trial.faults import is_device_fault, is_out_of_memory
from tricksearch.trial.measuring import gpu
from tricksearch.trial.measuring.memory import added_memory
from tricksearch.trial.measuring.stopwatch import Loaded, Stopwatch, Timing, filled

FEWEST, MOST = 3, 16  # copies of a file that is timed
COPIES_BYTES = 48 * 2**20  # that all copies of a file take on the disk, beyond the fewest
COPIES_MEMORY = 512 * 2**20  # bytes by which they let this process grow, beyond the fewest
WARM_UP = 3  # runs of a copy when it was loaded
PR_SET_PDEATHSIG = 1  # of Linux's prctl
Array = np.ndarray[Any, Any]


class _Server:
    """What the process does with a command."""

    def __init__(self, pixels: Array) -> None:
        self._pixels = pixels
        self._predictor: Predictor | None = None
        self._stopwatch = Stopwatch()
        self._to_time: list[Loaded] = []
        self._memory: int | None = None
        self._baseline: list[Predictor] = []
        self._baseline_is: tuple[dict[str, Any], int] | None = None  # its file, and the images of a batch

    def answer(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer to one command; every error but an exit is an answer too."""
        try:
            if job["command"] == "load":
                self._predictor, self._to_time = None, []  # what was loaded before gives its memory back first
                self._predictor = _loaded(job["file"])
                return {}
            if job["command"] == "load_to_time":
                self._predictor, self._to_time = None, []
                self._load_to_time(job["files"], job["baseline"], LatencySettings(**job["settings"]))
                return {}
            if job["command"] == "time":
                timings = self._time(LatencySettings(**job["settings"]), job["fastest_ms"])
                return {"timings": [asdict(timing) for timing in timings]}
            if self._predictor is None:
                raise TrialError("no deployable is loaded")
            logits = _run(self._predictor, _unit(self._pixels[job["start"] : job["stop"]]))
            return {"logits": base64.b64encode(logits.tobytes()).decode(), "shape": list(logits.shape)}
        except TrialError as error:
            return {"refused": str(error)}
        except MemoryError as error:
            return {"error": f"out of memory: {error}", "memory": True}
        except Exception as error:
            traceback.print_exc()
            cause = error.__cause__ if isinstance(error, _RunError) else error
            if is_out_of_memory(error):
                return {"error": f"out of memory: {type(cause).__name__}: {cause}"[:2000], "memory": True}
            doing = "load" if cause is error and job["command"].startswith("load") else "run"
            return {"error": f"{type(cause).__name__}: {cause}"[:2000], "doing": doing, "lost": is_device_fault(error)}

    def _load_to_time(
        self, files: Sequence[dict[str, Any]], baseline: dict[str, Any], settings: LatencySettings
    ) -> None:
        batch = filled(_unit(self._pixels[: settings.batch]), settings.batch)
        if self._baseline_is != (baseline, settings.batch):
            self._baseline, self._baseline_is = [], None
            self._stopwatch = Stopwatch()  # how fast the machine was at its best is known of the net before alone
            self._baseline = _copies(baseline, batch, settings.seconds)
            self._baseline_is = (baseline, settings.batch)
        self._memory = _memory(files[0], batch) if len(files) == 1 else None
        self._to_time = [
            Loaded(_copies(file, batch, settings.seconds), file["device"], file["threads"]) for file in files
        ]

    def _time(self, settings: LatencySettings, fastest_ms: float | None) -> list[Timing]:
        if not self._to_time:
            raise TrialError("no deployable is loaded to be timed")
        note = gpu.wait_for_rest() if self._to_time[0].device == "cuda" else ""
        images = _unit(self._pixels[: max(settings.batch, *settings.batches, 1)])
        timings = self._stopwatch.time(self._to_time, self._baseline, images, settings, fastest_ms)
        return [
            replace(
                timing,
                memory_bytes=self._memory,
                note="; ".join(part for part in (note, timing.note) if part),
            )
            for timing in timings
        ]


def _loaded(file: dict[str, Any]) -> Predictor:
    names = dict[str, Any]()
    source = f"from __future__ import annotations\n{file['source']}"
    exec(compile(source, f"<{file['function']}>", "exec"), names)  # noqa: S102  # our own process sent it
    predictor: Predictor = names[file["function"]](file["path"], file["threads"], file["precision"], **file["options"])
    return predictor


def _copies(file: dict[str, Any], batch: Array, seconds: float) -> list[Predictor]:
    """A file loaded several times and warmed up: more often where it is small, which is where memory's place tells.

    At least FEWEST times, unless memory runs out; beyond these, as long as loading takes no longer than `seconds`, and
    what the copies keep, which with a large batch is far more than the file, stays small.
    """
    own = psutil.Process()
    end, before, copies = time.monotonic() + seconds, own.memory_info().rss, list[Predictor]()
    wanted = max(FEWEST, min(MOST, COPIES_BYTES // max(1, file["bytes"])))
    while len(copies) < FEWEST or (
        len(copies) < wanted and time.monotonic() < end and own.memory_info().rss - before < COPIES_MEMORY
    ):
        try:
            copy = _loaded(file)
            for _ in range(WARM_UP):
                _run(copy, batch)
        except Exception as error:
            if not copies or not is_out_of_memory(error):
                raise
            break
        copies.append(copy)
    return copies


def _memory(file: dict[str, Any], batch: Array) -> int | None:
    _run(_loaded(file), batch)  # what the library does only once is none of the deployable's memory

    def again() -> None:
        predictor = _loaded(file)
        for _ in range(2):  # some libraries plan their memory in the first run and take it in the second
            _run(predictor, batch)

    return added_memory(again)


class _RunError(Exception):
    """A loaded file cannot be run; its cause says why."""


def _run(predictor: Predictor, images: Array) -> Array:
    try:
        return np.ascontiguousarray(predictor(images), np.float32)
    except MemoryError:
        raise
    except Exception as error:
        raise _RunError from error


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
