"""The terminal, kept for what a person wants to read; everything that libraries print goes to a log file."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console


class Terminal:
    """Holds the real output and sends descriptors 1 and 2, so C++ threads' and exit handlers' lines too, to a log."""

    def __init__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = (
            os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace"),
            os.fdopen(os.dup(2), "w", errors="replace"),
        )
        self.console = Console(file=out, highlight=False, soft_wrap=False)
        self.errors = Console(file=err, highlight=False, stderr=True)
        # Until the run folder is known to be ours, nothing is written there.
        self._early = tempfile.TemporaryFile(prefix="tricksearch-log-")  # noqa: SIM115  # lives as long as the process
        self._send_to(self._early.fileno())

    def log_to(self, path: Path) -> None:
        """Append what came so far, and all that comes, to this file."""
        with open(path, "ab") as log:
            sys.stdout.flush()
            sys.stderr.flush()
            self._early.seek(0)
            log.write(self._early.read())
            log.flush()
            self._send_to(log.fileno())

    def early_lines(self) -> str:
        """What libraries printed before there was a log file."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._early.seek(0)
        return self._early.read().decode(errors="replace")

    @staticmethod
    def _send_to(file: int) -> None:
        os.dup2(file, 1)
        os.dup2(file, 2)
