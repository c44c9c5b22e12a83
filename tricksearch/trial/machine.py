"""One machine, many trials: training shares it, a stopwatch has it alone.

Two advisory file locks (flock) make a readers-writer lock across processes that favours the stopwatch: it
closes the gate, then waits for the trials to step aside at their next batch. The kernel drops the locks of a
process that dies. The files lie in the machine's temporary folder, so that every study on it shares them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


class Machine:
    """This process's hold on the machine. Not for use from several threads at once."""

    def __init__(self, folder: Path | None = None) -> None:
        place = folder or Path(tempfile.gettempdir())
        self._gate = _open(place / "tricksearch-machine-gate.lock")
        self._floor = _open(place / "tricksearch-machine-floor.lock")
        self._sharing = False
        self.waited = 0.0  # seconds that this process has spent waiting for others, in all

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Work that may go on beside other trials, but not beside a stopwatch."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def step_aside(self) -> None:
        """Let a waiting stopwatch have the machine; called between two batches."""
        if self._sharing:
            self._leave()
            self._enter()

    @contextlib.contextmanager
    def idle(self) -> Iterator[None]:
        """Give the machine up while waiting for something else, such as another trial's teacher."""
        was_sharing = self._sharing
        if was_sharing:
            self._leave()
        try:
            yield
        finally:
            if was_sharing:
                self._enter()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """The whole machine: no trial trains or exports on it meanwhile."""
        with self.idle():
            start = time.monotonic()
            with _held(self._gate, fcntl.LOCK_EX), _held(self._floor, fcntl.LOCK_EX):
                self.waited += time.monotonic() - start
                yield

    def close(self) -> None:
        """Give back the file descriptors, and every lock with them."""
        os.close(self._gate)
        os.close(self._floor)

    def _enter(self) -> None:
        start = time.monotonic()
        with _held(self._gate, fcntl.LOCK_SH):
            fcntl.flock(self._floor, fcntl.LOCK_SH)
        self._sharing = True
        self.waited += time.monotonic() - start

    def _leave(self) -> None:
        fcntl.flock(self._floor, fcntl.LOCK_UN)
        self._sharing = False


@contextlib.contextmanager
def _held(file: int, how: int) -> Iterator[None]:
    fcntl.flock(file, how)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _open(path: Path) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        file = os.open(path, flags | os.O_CREAT, 0o666)
        with contextlib.suppress(PermissionError):  # another user made it between the two calls
            os.fchmod(file, 0o666)
        return file
