"""The observer of a run: to follow one, subclass it and override the methods of interest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tricksearch.records.record import Record
    from tricksearch.study.study import Study
    from tricksearch.trial.job import Job


class Observer:
    """Its methods are called in the driver's process while a study runs; by default they do nothing."""

    def begins(self, study: Study, records: list[Record], workers: str) -> None:
        """The run folder is held, and these are the records of earlier runs."""

    def changed(self, changes: Sequence[str], outside: int) -> None:
        """The study is not as its last run left it; so many of its records no longer fit the space."""

    def entered(self, phase: str, done: int, total: int) -> None:
        """A phase begins, or is longer than was known: trials of it that are stored, and that it has in all."""

    def started(self, job: Job) -> None:
        """A trial was handed out."""

    def recorded(self, records: Sequence[Record]) -> None:
        """The records of one trial have been stored, the trial's own first."""

    def timing_front(self, graphs: int) -> None:
        """The search is over, and so many graphs on or near its front are timed together."""

    def ended(self, why: str) -> None:
        """The search ends, although trials are left."""
