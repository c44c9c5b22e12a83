"""A trial that pauses at its rungs: it runs in a thread, and a step of Ray Tune ends at each rung."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from tricksearch.records.record import Record
from tricksearch.trial.rungs import Progress, Report, Stopped

Work = Callable[[Report], list[Record]]


class PausingTrial:
    """Runs one piece of work at a time, from rung to rung. Not for use from several threads at once.

    All of it runs in one thread, which is started once: the runner's process ends with the thread that started it.
    """

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._made: queue.SimpleQueue[Progress | list[Record] | BaseException] = queue.SimpleQueue()
        self._goes_on: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._open = False  # there is work that has not ended

    def step(self, work: Work) -> Progress | list[Record]:
        """Begin the work, or resume the work that is paused at a rung; return at the next rung, or with the result.

        Raises what the work raises.
        """
        if self._open:
            self._goes_on.put(True)
        else:
            self._start()
            self._open, self._goes_on = True, queue.SimpleQueue()  # an answer that came too late is dropped
            self._work.put(work)
        made = self._made.get()
        if isinstance(made, Progress):
            return made
        self._open = False
        if isinstance(made, BaseException):
            raise made
        return made

    def stop(self) -> None:
        """End work that is paused at a rung, with Stopped, and return when it has ended."""
        while self._open:
            self._goes_on.put(False)
            self._open = isinstance(self._made.get(), Progress)

    def close(self) -> None:
        """Stop, and end the thread."""
        self.stop()
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None

    def _start(self) -> None:
        if self._thread is None:
            # A daemon: it does not keep the process alive.
            self._thread = threading.Thread(target=self._run, name="trial", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            made: Any
            try:
                made = work(self._report)
            except BaseException as error:
                made = error
            self._made.put(made)

    def _report(self, progress: Progress) -> None:
        self._made.put(progress)
        if not self._goes_on.get():
            raise Stopped("it was ended at a rung")
