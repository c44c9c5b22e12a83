"""SIGTERM, with which a scheduler or a cloud takes a machine back: end in order, and soon."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from tricksearch.search.loop import Loop

GRACE = 10.0  # seconds that running trials get; Kubernetes kills after 30, spot machines go after 30 to 120
INTERRUPTED = 130


@contextlib.contextmanager
def closing_on_sigterm(loop: Loop, grace: float = GRACE) -> Iterator[None]:
    """On SIGTERM close the loop, give what runs `grace` seconds to finish and be stored, then raise KeyboardInterrupt.

    It is raised when the block ends by itself, too. A second SIGTERM ends the process at once. Only the main thread
    gets signals; in another one nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def close(_: int, __: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGTERM, lambda *_: os._exit(INTERRUPTED))
        loop.close()
        signal.setitimer(signal.ITIMER_REAL, grace)

    def end(_: int, __: object) -> None:
        if loop.storing:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        else:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, close), signal.signal(signal.SIGALRM, end)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before[1])
        if not asked:
            signal.signal(signal.SIGTERM, before[0])
    if asked:
        raise KeyboardInterrupt
