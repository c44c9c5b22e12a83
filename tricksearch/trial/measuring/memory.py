"""What loading and running a file adds to a process's memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path


def added_memory(act: Callable[[], object]) -> int | None:
    """Bytes that `act` adds to this process's resident memory, at its peak; None where the system does not tell.

    What the process has kept from earlier work is given back first. Whatever `act` would do only once, such as
    importing a library, the caller does before. Linux counts memory in pages, and lazily: small nets drown in it.
    """
    gc.collect()
    with contextlib.suppress(AttributeError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)
    before = None
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is resident now
        before = _peak_memory()
    act()
    after = _peak_memory()
    return None if before is None or after is None else max(0, after - before)


def _peak_memory() -> int | None:
    with contextlib.suppress(OSError):
        match = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
        return int(match[1]) * 1024 if match else None
    return None
