"""The loop that every way of running trials shares: hand out jobs, take in records, keep the store."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from tricksearch.contract import InputError, Registry
from tricksearch.search.batches import Batch
from tricksearch.search.budget import Ledger
from tricksearch.search.folder import read_records
from tricksearch.search.proposer import Proposal, Proposer
from tricksearch.search.replicates import next_replicate, settled
from tricksearch.search.retries import OUT_OF_MEMORY, Retries
from tricksearch.search.space import Space
from tricksearch.search.stopping import Stopping
from tricksearch.search.store import Store
from tricksearch.search.study import Study
from tricksearch.trial.averages import averaged, mean_of
from tricksearch.trial.bounds import Bound, baseline_of, resolved
from tricksearch.trial.cache import Cache
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.record import STOPPED, Record
from tricksearch.trial.rungs import Progress, Report

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One trial to run, in plain JSON: all that crosses to a worker."""

    trial: int
    phase: str
    seed: int
    recipe: dict[str, Any]
    variants: list[dict[str, dict[str, Any]]]  # the tricks of the recipes that share its training
    bounds: list[dict[str, Any]]
    cache: str
    directory: str  # where the study was started: relative paths in the recipe start there
    memory_gib: float | None = None  # what its process may hold
    gpus: float | None = None  # the part of a GPU that is its own
    rungs: list[int] = field(default_factory=list)  # the epochs after which it tells how far it has come

    def to_json(self) -> dict[str, Any]:
        """The job as a mapping."""
        return dict(vars(self))


def run_job(job: Job, report: Report = lambda progress: None) -> list[Record]:
    """Run one trial and its variants here, in the folder where the study was started. Raises InputError without it.

    `report` hears of the trial's rungs, and may raise Stopped.
    """
    try:
        os.chdir(job.directory)
    except OSError as error:
        raise InputError(
            f"the folder where the study was started is not on the node '{socket.gethostname()}': {error}",
            remedy="start the command again in a folder that is there",
        ) from error
    return run_cached(job, Cache(Path(job.cache)), report)


def run_cached(job: Job, cache: Cache, report: Report = lambda progress: None) -> list[Record]:
    """Run one trial and its variants here, with the stages that this cache knows."""
    from tricksearch.trial.run import run_trial

    recipe = Recipe.model_validate(job.recipe)
    return run_trial(
        recipe,
        job.seed,
        cache=cache,
        variants=[recipe.model_copy(update={"tricks": tricks}) for tricks in job.variants],
        bounds=[Bound(**each) for each in job.bounds],
        number=job.trial,
        phase=job.phase,
        rungs=job.rungs,
        report=report,
        memory_gib=job.memory_gib,
        gpus=job.gpus,
    )


class Observer(Protocol):
    """Hears what happens, to show it to somebody."""

    def started(self, job: Job) -> None:
        """A trial was handed out."""

    def recorded(self, records: Sequence[Record]) -> None:
        """The records of one trial have been stored, the trial's own first."""

    def ended(self, why: str) -> None:
        """No further trial starts, although trials are left."""


class Loop:
    """Hands out no more than the study's number of trials, those of earlier runs counted in."""

    def __init__(
        self, study: Study, registry: Registry, store: Store, folder: Path, observer: Observer, workers: int = 1
    ) -> None:
        """`workers` is the size of a batch, where the search is to be reproducible."""
        self.study, self._store, self._observer = study, store, observer
        self.cache = cache_folder(study, folder)
        records = store.records()
        self._space = Space.of(study, registry)
        self._batch = Batch(study, store, workers)
        known, untold = self._batch.divided(records)
        self._baseline: Record | None = baseline_of(averaged(known))
        earlier = [read_records(Path(place), study.store) for place in study.search.learn_from]
        self._proposer = Proposer(study, self._space, known, earlier, untold)
        self._ledger = Ledger(study, known, store.fact("seconds") or 0.0, store.fact("lost"))
        self._clock = time.monotonic()
        self.ended = ""  # which budget, other than the number of trials, is used up
        self._open: dict[int, Job] = {}
        trials = {record.trial for record in records}
        self.done = len(trials)
        # What a trial told that was then lost: its number may go to another recipe.
        self._lose(epochs=store.forget_reports(trials))
        self._stopping = Stopping(study.search.stopping, study.objectives, study.train.epochs, store.reports())
        self._retries = Retries()
        self._closed = False
        self.storing = False  # a record is on its way to the disk just now
        self._dry = False  # there was nothing new to propose when it was asked last

    @property
    def exhausted(self) -> bool:
        """Whether every recipe of the space has been tried; one that runs may yet give some back."""
        return self._dry and not self._open and not len(self._retries)

    @property
    def left(self) -> int:
        """New trials that may still be handed out."""
        if self.exhausted or self._closed or self.ended:
            return 0
        return max(0, self.study.search.trials - self.done - len(self._open) - len(self._retries))

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
        return sum(self._space.parameters(record.tricks) is None for record in records if record.phase != "baseline")

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
        if self.left == 0 or self._batch.full:
            return None
        self._ledger.seconds += self._passed()
        why = self._ledger.used_up()
        if why is not None:
            if not self._open:  # what still runs may move the hypervolume
                self.ended = why
                self._observer.ended(why)
            return None
        replicate = None
        if self._proposer.number:  # the baseline comes first, also where it was lost
            replicate = next_replicate(self.study, self._ledger.groups, self._seeds_running())
        if replicate is not None:
            proposal: Proposal | None = self._proposer.again(replicate)
        else:
            proposal = None if self._dry else self._proposer.propose()
        if proposal is None:
            self._dry = True
            return None
        self._batch.start(proposal.trial)
        return Job(
            trial=proposal.trial,
            phase=proposal.phase,
            seed=proposal.seed,
            recipe=proposal.recipe.model_dump(mode="json"),
            variants=list(proposal.variants),
            bounds=[vars(bound) for bound in self._bounds()],
            cache=str(self.cache),
            directory=str(Path.cwd()),
            # A recipe's other seeds run to their end: a mean over those that did well would flatter it.
            rungs=[] if replicate is not None else list(self._stopping.rungs),
            memory_gib=self.study.search.memory_gib,
            gpus=self.study.search.gpus,
        )

    def report(self, trial: int, progress: Progress) -> Record | None:
        """Store what a trial tells at a rung. Returns None if it goes on, else its record as a stopped trial.

        Whoever stops it hands the record to `finish`.
        """
        self._store.report(trial, progress.epoch, progress.measures)
        reason = self._stopping.report(trial, progress.epoch, progress.measures)
        return None if reason is None else replace(progress.record, reason=reason)

    def finish(self, records: Sequence[Record]) -> None:
        """Store a trial's records, then tell the sampler. The store comes first: what it holds is never run again.

        A trial that ran out of memory beside others is not stored yet: it runs once more, alone.
        """
        job = self._open.pop(records[0].trial, None)
        memory = any(record.status == OUT_OF_MEMORY for record in records)
        if job is not None and memory and self._retries.out_of_memory(job):
            log.warning("trial %d ran out of memory beside others: it runs again, alone", job.trial)
            self._store.forget_reports_of(job.trial)  # its records say what it spent
            self._lose(records)
            return
        self.storing = True
        try:
            self._store.add(records)
        finally:
            self.storing = False
        self._dry = False
        if job is not None and records[0].status == STOPPED:
            self._release(job)  # with another latency they may well be ahead
        if self.study.search.hours is not None:
            self._ledger.seconds += self._passed()
            self._store.put_fact("seconds", self._ledger.seconds)
        self.done += 1
        for each in self._batch.finished(records):
            self._learn(each)
        self._observer.recorded(records)

    def _learn(self, records: Sequence[Record]) -> None:
        self._ledger.add(records)
        if self.study.search.seeds == 1:
            groups = [[record] for record in records]
        else:
            groups = [self._ledger.groups[Recipe.model_validate(record.recipe).key] for record in records]
        if records[0].phase == "baseline":
            self._baseline = baseline_of([mean_of(groups[0])]) or self._baseline
        for runs in groups:
            if settled(self.study, groups[0]):
                self._proposer.tell(mean_of(runs))

    def _release(self, job: Job) -> None:
        """Let the variants of a trial that were not tried be proposed; those of another seed were tried before."""
        if job.seed == self.study.search.seed:
            self._proposer.release(job.variants)
            self._dry = False

    def _passed(self) -> float:
        """Seconds since this was asked last."""
        before, self._clock = self._clock, time.monotonic()
        return self._clock - before

    def _seeds_running(self) -> dict[str, set[int]]:
        """The seeds of the trainings that are handed out or wait to be handed out again, by the recipe's key."""
        if self.study.search.seeds == 1:
            return {}
        found: dict[str, set[int]] = {}
        for job in (*self._open.values(), *self._retries.waiting):
            found.setdefault(Recipe.model_validate(job.recipe).key, set()).add(job.seed)
        for record in self._batch.untold:
            found.setdefault(Recipe.model_validate(record.recipe).key, set()).add(record.seed)
        return found

    def lost(self, job: Job, status: str, reason: str) -> None:
        """Hand a trial out again whose worker did not live to report it, or record it where that was done often.

        The variants of one that is recorded so may be proposed again.
        """
        self._open.pop(job.trial, None)
        if self._closed:
            return
        self._lose(epochs=self._store.forget_reports_of(job.trial))
        recorded = self._retries.lost(job, status, reason)
        if recorded is None:
            log.warning("trial %d runs again: %s", job.trial, reason)
            return
        self._release(job)
        recipe = Recipe.model_validate(job.recipe).model_dump(mode="json")
        lost = Record(trial=job.trial, phase=job.phase, status=status, reason=recorded, seed=job.seed, recipe=recipe)
        self.finish([lost])

    def _lose(self, records: Sequence[Record] = (), epochs: int = 0) -> None:
        """Remember what an attempt cost that is made again: a budget holds over every start of the study."""
        if records or epochs:
            self._store.put_fact("lost", self._ledger.lose(records, epochs))

    def _bounds(self) -> list[Bound]:
        return resolved(self.study.constraints, [self._baseline] if self._baseline else [])


def cache_folder(study: Study, folder: Path) -> Path:
    """Where the study's stages are kept: the folder that it names, or one in the run folder."""
    return Path(study.cache).expanduser().resolve() if study.cache else (folder / "cache").resolve()
