"""The loop that every way of running trials shares: hand out jobs, take in records, keep the store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tricksearch.contract import Registry
from tricksearch.records.averages import averaged
from tricksearch.records.constraints import Bound, resolved
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import SEARCH_PHASES, STOPPED, Record
from tricksearch.search.observer import Observer
from tricksearch.search.phases.budget import note_lost
from tricksearch.search.phases.build import phases_of
from tricksearch.search.phases.front import time_front
from tricksearch.search.phases.phase import Proposal
from tricksearch.search.retries import OUT_OF_MEMORY, Retries
from tricksearch.search.space.space import Space
from tricksearch.search.stopping import Stopping
from tricksearch.store.facts import DATA
from tricksearch.store.run import cache_folder
from tricksearch.store.store import Store
from tricksearch.study.study import Study
from tricksearch.trial.job import Job
from tricksearch.trial.rungs import Progress

log = logging.getLogger(__name__)


class Loop:
    """Hands out the trials of one phase after another, each when nothing of the one before it is left or runs."""

    def __init__(
        self, study: Study, registry: Registry, store: Store, folder: Path, observer: Observer, workers: int = 1
    ) -> None:
        """`workers` is the size of a batch, where the search is to be reproducible."""
        self.study, self._store, self._observer = study, store, observer
        self.cache = cache_folder(study, folder)
        records = store.records()
        self._space = Space.of(study, registry)
        self._plain = [record for record in records if record.phase == "baseline" and record.variant == 0]
        # What a trial told that was then lost: its number may go to another recipe.
        note_lost(store, store.forget_reports({record.trial for record in records}))
        self._stopping = Stopping(study.search.stopping, study.objectives, study.train.epochs, store.reports())
        self._retries = Retries()
        mark = store.fact(DATA)
        self._data = None if mark is None else str(mark["digest"])
        self._simulation = None
        if study.simulation is not None:
            settings = study.simulation.model_dump(mode="json")
            self._simulation = {"settings": settings, "epochs": study.train.epochs}
        self._open: dict[int, Job] = {}
        self._closed = False
        self.storing = False  # a record is on its way to the disk just now
        self._phases = phases_of(
            study,
            self._space,
            registry,
            store,
            workers,
            lambda: time_front(study, store, registry, self.cache, observer),
        )
        self._phase = next(self._phases)
        self._announced = ("", 0)
        self._end_reported = False  # the observer was told why this phase ended
        self._advance()

    @property
    def left(self) -> int:
        """New trials that may still be handed out in this phase."""
        return 0 if self._closed else self._phase.left

    @property
    def running(self) -> int:
        """Trials that are handed out."""
        return len(self._open)

    @property
    def over(self) -> bool:
        """Whether nothing is handed out any more, and nothing will be: one that runs may yet be lost and run again."""
        return not self._open and (self._closed or (self.left == 0 and not len(self._retries)))

    def close(self) -> None:
        """Hand out nothing more; what runs may still finish. What is not stored, the next run of the study does."""
        self._closed = True

    def outside(self, records: Sequence[Record]) -> int:
        """How many of these records are of no recipe of the space: they are kept, and not told to the sampler."""
        return sum(self._space.parameters(record.tricks) is None for record in records if record.phase == "search")

    def next(self) -> Job | None:
        """The next trial, or None where there is none: now, or, when the loop is `over`, ever."""
        if self._closed or self._retries.holds(self._open):
            return None
        job = self._retries.next() or self._new()
        if job is not None:
            self._retries.started(job.trial, self._open)
            self._open[job.trial] = job
            self._observer.started(job)
        return job

    def _new(self) -> Job | None:
        while True:
            self._announce()
            proposal = self._phase.next()
            if proposal is not None:
                return self._job(proposal)
            if not self._advance():
                return None

    def _announce(self) -> None:
        """Tell the observer where a phase begins, or turns out to be longer than it was known to be."""
        phase = self._phase
        total = phase.done + phase.left + len(self._open) + len(self._retries)
        if phase.left and (phase.name, total) != self._announced:
            self._announced = (phase.name, total)
            self._observer.entered(phase.name, phase.done, total)

    def _advance(self) -> bool:
        """Go on to the first phase that wants a trial, if this one is over; returns whether it did."""
        moved = False
        while not self._phase.left and not self._open and not len(self._retries):
            if self._phase.ended and not self._end_reported:
                self._end_reported = True
                self._observer.ended(self._phase.ended)
            following = next(self._phases, None)
            if following is None:
                return False
            self._phase, self._end_reported, moved = following, False, True
        return moved

    def _job(self, proposal: Proposal) -> Job:
        return Job(
            trial=proposal.trial,
            phase=proposal.phase,
            seed=proposal.seed,
            recipe=proposal.recipe.model_dump(mode="json"),
            variants=list(proposal.variants),
            # An arm of a design that was rejected would be a hole in it.
            bounds=[vars(bound) for bound in self._bounds()] if proposal.phase in SEARCH_PHASES else [],
            cache=str(self.cache),
            directory=str(Path.cwd()),
            data=self._data,
            rungs=[] if proposal.whole else list(self._stopping.rungs),
            memory_gib=self.study.search.memory_gib,
            gpus=self.study.search.gpus,
            simulation=self._simulation,
            fresh=proposal.fresh,
            test=proposal.test,
        )

    def report(self, trial: int, progress: Progress) -> Record | None:
        """Store what a trial tells at a rung. Returns None if it goes on, else its record as a stopped trial.

        Whoever stops it hands the record to `finish`.
        """
        self._store.report(trial, progress.epoch, progress.measures)
        reason = self._stopping.report(trial, progress.epoch, progress.measures)
        return None if reason is None else replace(progress.record, reason=reason)

    def finish(self, records: Sequence[Record]) -> None:
        """Store a trial's records, then tell its phase. The store comes first: what it holds is never run again.

        A trial that ran out of memory beside others is not stored yet: it runs once more, alone.
        """
        job = self._open.pop(records[0].trial, None)
        memory = any(record.status == OUT_OF_MEMORY for record in records)
        if job is not None and memory and self._retries.out_of_memory(job):
            log.warning("trial %d ran out of memory beside others: it runs again, alone", job.trial)
            self._store.forget_reports_of(job.trial)  # its records say what it spent
            self._phase.lose(records)
            return
        self.storing = True
        try:
            self._store.add(records)
        finally:
            self.storing = False
        if job is not None and records[0].status == STOPPED:
            self._phase.release(job.variants, job.seed)  # with another latency they may well be ahead
        elif job is not None and records[0].finished and len(records) <= len(job.variants):
            self._phase.release(job.variants[len(records) - 1 :], job.seed)  # their process ended before their turn
        if records[0].phase == "baseline":
            self._plain.append(records[0])
        self._phase.learn(records)
        self._observer.recorded(records)
        self._advance()

    def lost(self, job: Job, status: str, reason: str) -> None:
        """Hand a trial out again whose worker did not live to report it, or record it where that was done often.

        The variants of one that is recorded so may be proposed again.
        """
        self._open.pop(job.trial, None)
        if self._closed:
            return
        self._phase.lose(epochs=self._store.forget_reports_of(job.trial))
        recorded = self._retries.lost(job, status, reason)
        if recorded is None:
            log.warning("trial %d runs again: %s", job.trial, reason)
            return
        self._phase.release(job.variants, job.seed)
        recipe = Recipe.model_validate(job.recipe).model_dump(mode="json")
        lost = Record(trial=job.trial, phase=job.phase, status=status, reason=recorded, seed=job.seed, recipe=recipe)
        self.finish([lost])

    def _bounds(self) -> list[Bound]:
        return resolved(self.study.constraints, averaged(self._plain))
