"""Batches: what makes a search the same again, however long its trials take and in which order they end."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

from tricksearch.records.record import Record
from tricksearch.store.facts import BATCH
from tricksearch.store.store import Store
from tricksearch.study.study import Study


class TrialBatch:
    """The trials that are asked for together, with nothing learnt between them: what a reproducible search needs.

    The batches go by the trials' numbers, so that a run that was interrupted goes on with the same ones. Where the
    search need not be reproducible, every trial is learnt from at once.
    """

    def __init__(self, study: Study, store: Store, workers: int) -> None:
        self._on = study.search.reproducible
        if self._on:
            self._size = store.fact(BATCH) or workers
            store.put_fact(BATCH, self._size)
        self._running: set[int] = set()
        self._waiting: list[Sequence[Record]] = []

    def divided(self, records: Sequence[Record], designed: Collection[int] = ()) -> tuple[list[Record], list[Record]]:
        """The records of an earlier run: those to learn from at once, and those of a batch that was not finished.

        `designed` are the numbers of trials that belong to no batch, since another phase asked for them.
        """
        if not self._on:
            return list(records), []
        free = (number for number in itertools.count() if number not in designed)  # in the order of the batches
        trials = {record.trial for record in records}
        while trials.issuperset(batch := list(itertools.islice(free, self._size))):
            pass  # what lies behind an unfinished one was asked for before batches were wanted
        for trial in (trial for trial in batch if trial in trials):
            self._waiting.append([record for record in records if record.trial == trial])
        return [record for record in records if record.trial not in batch], self.untold

    @property
    def untold(self) -> list[Record]:
        """The records that are learnt from when their batch is complete."""
        return [record for records in self._waiting for record in records]

    @property
    def full(self) -> bool:
        """Whether no further trial may be asked for until those of the batch have finished."""
        return self._on and len(self._running) + len(self._waiting) >= self._size

    def start(self, trial: int) -> None:
        """Hear that a trial of the batch was asked for."""
        self._running.add(trial)

    def finished(self, records: Sequence[Record]) -> list[Sequence[Record]]:
        """The trials to learn from now that this one has finished, in the order of their numbers."""
        self._running.discard(records[0].trial)
        self._waiting.append(records)
        if self._on and (self._running or len(self._waiting) < self._size):
            return []
        ready, self._waiting = sorted(self._waiting, key=lambda batch: batch[0].trial), []
        return ready
