"""The terminal, kept for what a person wants to read; everything that libraries print goes to a log file."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console


class Terminal:
    """Holds the real output and sends descriptors 1 and 2, so C++ threads' and exit handlers' lines too, to a log."""

    def __init__(self) -> None:
        self._out, self._err = os.dup(1), os.dup(2)
        # Until the run folder is known to be ours, nothing is written there.
        self._early = tempfile.TemporaryFile(prefix="tricksearch-log-")  # noqa: SIM115  # lives as long as the process
        self._log = self._early.fileno()
        self.console = Console(file=os.fdopen(self._out, "w", encoding="utf-8", errors="replace"), highlight=False)
        _send(self._log, self._log)

    def log_to(self, path: Path) -> None:
        """Append what came so far, and all that comes, to this file."""
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        _flush()
        self._early.seek(0)
        os.write(log, self._early.read())
        self._log = log
        _send(log, log)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Let what is printed reach the terminal: the progress bar of a download."""
        _send(self._out, self._err)
        try:
            yield
        finally:
            _send(self._log, self._log)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _send(out: int, err: int) -> None:
    _flush()
    os.dup2(out, 1)
    os.dup2(err, 2)
