"""One machine, many trials: training shares it, a stopwatch has it alone.

Two advisory file locks (flock) make a readers-writer lock across processes that favours the stopwatch: it
closes the gate, then waits for the trials to step aside at their next batch. The kernel drops the locks of a
process that dies. The files lie in /tmp, whatever TMPDIR says, so that every study on the machine shares them; the
environment variable TRICKSEARCH_LOCKS names another folder, for processes that are to wait for no one else's.
A machine's GPUs are part of it: a trial steps aside only when what it has queued on them is done.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tricksearch.contract import InputError

LOCKS = "TRICKSEARCH_LOCKS"
COMMON = Path("/tmp")  # noqa: S108  # foreseeable on purpose; what others may put there is met in _open


class Machine:
    """This process's hold on the machine. Not for use from several threads at once."""

    def __init__(self, folder: Path | None = None, memory: int | None = None) -> None:
        """Take part in the locks of this folder; `memory`, in bytes, is what this process may hold."""
        place = folder or _folder()
        self._gate = _open(place / "tricksearch-machine-gate.lock")
        self._floor = _open(place / "tricksearch-machine-floor.lock")
        self._sharing = False
        self._memory = memory
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
        """Let a waiting stopwatch have the machine; called between two batches.

        Raises MemoryError where this process holds more memory than it may.
        """
        if self._memory is not None and (held := psutil.Process().memory_info().rss) > self._memory:
            raise MemoryError(f"{held / 2**30:.2f} GiB are held, and the limit is {self._memory / 2**30:.2f}")
        if self._sharing and self._wanted():  # unasked, a GPU's queue would run empty at every batch
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
    def waiting(self) -> Iterator[None]:
        """Like `idle`, and the time counts as waited: another process decides how to go on."""
        start = time.monotonic()
        with self.idle():
            try:
                yield
            finally:
                self.waited += time.monotonic() - start

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
        try:
            _finish_kernels()
        finally:
            fcntl.flock(self._floor, fcntl.LOCK_UN)
            self._sharing = False

    def _wanted(self) -> bool:
        """Whether a stopwatch has closed the gate."""
        try:
            fcntl.flock(self._gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        return False


@contextlib.contextmanager
def _held(file: int, how: int) -> Iterator[None]:
    fcntl.flock(file, how)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _finish_kernels() -> None:
    """Wait for what this process has queued on its GPUs: it would run on, into the measurement of another."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    for index in range(torch.cuda.device_count()):
        if torch.cuda.memory_reserved(index):  # to wait for a GPU that is not in use would take memory of it
            with contextlib.suppress(RuntimeError):  # a fault of the device is reported by the stage that meets it
                torch.cuda.synchronize(index)


def _folder() -> Path:
    """The same for every process of the machine: TMPDIR, which tempfile follows, may differ between them."""
    if own := os.environ.get(LOCKS):
        return Path(own)
    return COMMON if COMMON.is_dir() else Path(tempfile.gettempdir())


def _open(path: Path) -> int:
    """The lock file's descriptor. Where another user's file has that name, this user's own file is locked instead."""
    for _ in range(2):  # again: with fs.protected_regular, a file that another user has just made is no error then
        with contextlib.suppress(OSError):
            return _regular(path)
    own = path.with_name(f"{path.stem}-{os.getuid()}{path.suffix}")
    try:
        return _regular(own)
    except OSError as error:
        remedy = "delete it, or make its folder writable"
        raise InputError(f"the lock file cannot be used: {error.strerror}", place=str(own), remedy=remedy) from error


def _regular(path: Path) -> int:
    """Open a file, made where there is none. Raises OSError where that fails or where it is no regular file."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: a pipe would wait for a writer
    try:
        file = os.open(path, flags)
    except FileNotFoundError:
        file = os.open(path, flags | os.O_CREAT, 0o666)
        with contextlib.suppress(PermissionError):  # another user made it between the two calls
            os.fchmod(file, 0o666)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file
