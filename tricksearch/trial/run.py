"""A trial: one recipe and one seed in, one record out; and with it the variants that share its training."""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tricksearch.contract import InputError, Registry, TrialError, discover
from tricksearch.records.constraints import Bound, Rejected, broken, in_doubt
from tricksearch.records.hardware import extra_versions, hardware, versions
from tricksearch.records.measures import MEASURES
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import FINISHED, REJECTED, STOPPED, Record
from tricksearch.trial.cache import Cache
from tricksearch.trial.context import JobContext, Note
from tricksearch.trial.data import DataSet
from tricksearch.trial.data.loaded import cached_data
from tricksearch.trial.data.packed import digest_of
from tricksearch.trial.faults import let_go, lost_device, status_of
from tricksearch.trial.foresee import foreseen
from tricksearch.trial.job import Job
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.rungs import Progress, Report, Rungs, Stopped
from tricksearch.trial.simulated import simulate
from tricksearch.trial.stages import Stages

log = logging.getLogger(__name__)


def ignored(progress: Progress) -> None:
    """The report of nobody: no rung ends the training."""


def run_job(job: Job, report: Report = ignored) -> list[Record]:
    """Run a trial in the folder where the study was started. Raises InputError where there is no such folder."""
    if job.simulation is None:
        try:
            os.chdir(job.directory)
        except OSError as error:
            raise InputError(
                f"the folder where the study was started is not on the node '{socket.gethostname()}': {error}",
                remedy="start the command again in a folder that is there",
            ) from error
    return run_trial(job, report=report)


def run_trial(
    job: Job,
    cache: Cache | None = None,
    report: Report = ignored,
    *,
    note: Note = lambda text: None,
    reraise: tuple[type[Exception], ...] = (),
) -> list[Record]:
    """Run a trial, then its variants: recipes that differ from it behind the training alone. One record each.

    Whatever goes wrong becomes the record's status and reason; only an interrupt passes through. Variants of a
    training that failed are left out, and so are those behind a fault of the device, after which `lost_device` says
    that this process is of no more use. A recipe that is seen to break a bound before it is trained is rejected.
    `cache` takes the place of the one in the job's folder; `note` is called with the name of each stage that begins;
    errors of the kinds in `reraise` are not recorded but raised. At the job's rungs, `report` is called with how far
    the training has come, and may end it by raising Stopped; for a net that is known already it is not called. Raises
    InputError where no trial of this study could run here: its data, its plugins or its cache are not there, or the
    disk is full.
    """
    if job.simulation is not None:
        return simulate(job)
    recipes = job.recipes()
    with _machine(job) as machine, machine.shared():
        registry, data = _tricks(recipes[0].plugins), cached_data(recipes[0].data)
        _refuse_other_data(job, data)
        known = cache or Cache(Path(job.cache))
        known.check()
        with known.in_use(), _tester(job, data) as tester:
            fresh = job.trial if job.fresh else None
            context = JobContext(registry, data, known, machine, _runner(data), note, tester, fresh)
            trial = _Trial(job, context, reraise, report)
            records = []
            for variant, recipe in enumerate(recipes):
                records.append(trial.record(recipe, variant))
                if trial.training_failed or lost_device.why:
                    break
    return records


def _refuse_other_data(job: Job, data: DataSet) -> None:
    """Raise InputError where the data are not those that the run began with: a file was changed since."""
    if job.data is not None and digest_of(data) != job.data:
        raise InputError(
            "the data have changed since the run was started: what is read now is not what the other trials had",
            place=job.recipes()[0].data.root or "data",
            remedy="put them back, and the same command goes on; or give --out another folder, for a run of its own",
        )


@contextlib.contextmanager
def _machine(job: Job) -> Iterator[Machine]:
    """This machine, for one trial; the memory of its GPUs is given back at the end."""
    machine = Machine(memory=None if job.memory_gib is None else int(job.memory_gib * 2**30))
    try:
        if job.gpus is not None and 0 < job.gpus < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(job.gpus)
        yield machine
    finally:
        machine.close()
        if torch.cuda.is_available():
            gc.collect()  # a hook may have closed over its workbench, and such a circle holds images
            with contextlib.suppress(RuntimeError):  # after a fault of the device it would hide the fault itself
                torch.cuda.empty_cache()


@contextlib.contextmanager
def _tester(job: Job, data: DataSet) -> Iterator[Runner | None]:
    """The process that has the test images, where they are read: no other process ever holds one."""
    tester = Runner(data.test.pixels.numpy()) if job.test else None
    try:
        yield tester
    finally:
        if tester is not None:
            tester.close()


@dataclass
class _Variant:
    """What of a record is known before anything is measured."""

    recipe: Recipe
    seed: int
    trial: int
    variant: int
    phase: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.perf_counter)

    def record(
        self, stages: Stages | None, status: str, reason: str, measured: Mapping[str, Any], spent: float
    ) -> Record:
        """The record; `measured` holds measures and other fields of it by their names."""
        return Record(
            trial=self.trial,
            phase=self.phase,
            variant=self.variant,
            status=status,
            reason=reason,
            seed=self.seed,
            recipe=self.recipe.model_dump(mode="json"),
            recipe_key=self.recipe.key,
            started=self.started.isoformat(timespec="seconds"),
            wall_seconds=round(time.perf_counter() - self.clock, 3),
            hardware=hardware(),
            versions=versions() | extra_versions(),
            keys=stages.keys.measured if stages and status == FINISHED else {},
            reused=stages.log.reused if stages else [],
            spent_seconds=round(spent, 3),
            spent_epochs=round(stages.net.spent_epochs, 3) if stages else 0.0,
            measures={name: measured[name] for name in MEASURES if measured.get(name) is not None},
            **{name: value for name, value in measured.items() if name not in MEASURES},
        )


class _Trial:
    """Runs the recipes of one job, one after another."""

    def __init__(self, job: Job, context: JobContext, reraise: tuple[type[Exception], ...], report: Report) -> None:
        self._job, self._context, self._reraise, self._report = job, context, reraise, report
        self._bounds = [Bound(**bound) for bound in job.bounds]
        self.training_failed = False  # or was stopped: what would be made of it is not there

    def record(self, recipe: Recipe, variant: int) -> Record:
        """The record of one recipe."""
        job = self._job
        # A variant trains only where the trial itself was rejected, and then it is not what was proposed.
        phase, rungs = (job.phase, job.rungs) if variant == 0 else ("search", [])
        form = _Variant(recipe, job.seed, job.trial, variant, phase)
        status, reason, measured = FINISHED, "", {}
        doubtful: list[str] = []
        looks = _Looks(self._context, form, self._report)
        try:
            with tempfile.TemporaryDirectory(prefix="tricksearch-") as folder:
                stages = Stages(
                    recipe,
                    job.seed,
                    self._context,
                    Path(folder),
                    Rungs(frozenset(rungs), looks.tell) if rungs else None,
                )
                looks.stages = stages
                # At a rung the trial is compared by what training does not change as well; no known net comes to one.
                if any(MEASURES[bound.measure].foreseen for bound in self._bounds) or (
                    rungs and not stages.net.is_trained
                ):
                    looks.foreseen = foreseen(stages) or {}
                    doubtful = in_doubt(self._bounds, looks.foreseen)
                    sure = [bound for bound in self._bounds if bound.text not in doubtful]
                    if why := broken(sure, looks.foreseen):
                        raise Rejected(f"{why}; seen before training", looks.foreseen)
                measured = stages.measures()
                if doubtful:
                    within = f"{', '.join(doubtful)} lies within the interval of its latency, so it was trained"
                    measured["latency_note"] = "; ".join(filter(None, [measured["latency_note"], within]))
        except self._reraise:
            raise
        except Rejected as error:
            status, reason, measured = REJECTED, str(error), error.measures
        except Exception as error:
            _refuse_full_disk(error)
            if isinstance(error, Stopped) and looks.last is not None:
                self.training_failed = True
                return replace(looks.last, reason=str(error))
            if not isinstance(error, TrialError):  # those are reasons, not faults
                log.exception("the trial failed")
            lost_device.note(error)
            status, reason = status_of(error)
            let_go(error)
        # Where not even the stages could be built, nothing is known of the training: the next one finds out for itself.
        known = looks.stages
        self.training_failed = known is not None and known.keys.train in self._context.failed
        return form.record(known, status, reason, measured, known.clock.spent if known else 0.0)


@dataclass
class _Looks:
    """What a trial tells at its rungs."""

    context: JobContext
    form: _Variant
    report: Report
    stages: Stages | None = None
    foreseen: Mapping[str, Any] = field(default_factory=dict)
    last: Record | None = None  # what the trial's record would be, had it ended at its last rung

    def tell(self, epoch: int, accuracy: float) -> None:
        """Report the end of an epoch (from 1) and the float net's accuracy, percent. Raises what `report` raises."""
        stages = self.stages
        if stages is None:
            raise RuntimeError("a rung was reached before there were stages")
        measured = {"train_seconds": stages.clock.running}
        self.last = self.form.record(stages, STOPPED, "", measured, stages.clock.spent_so_far)
        shape = {
            name: self.foreseen[name]
            for name, measure in sorted(MEASURES.items())
            if measure.foreseen and self.foreseen.get(name) is not None
        }
        with self.context.machine.waiting():
            self.report(Progress(epoch, {"accuracy": accuracy, **shape}, self.last))


_runners: dict[str, Runner] = {}


def _runner(data: DataSet) -> Runner:
    """The process that runs deployables on this data set's validation images, kept for the next trial."""
    key = data.digest("validation")
    if key not in _runners:
        for other in _runners.values():
            other.close()
        _runners.clear()
        _runners[key] = Runner(data.validation.pixels.numpy())
    return _runners[key]


def _refuse_full_disk(error: Exception) -> None:
    # Recorded as this recipe's failure, it would use up the study: the next trial would fail in the same way.
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        raise InputError(
            f"the disk is full: {error}",
            remedy="free some space and run the same command again; what is stored is kept",
        ) from error


@functools.cache
def _tricks(folders: tuple[str, ...]) -> Registry:
    return discover(folders)
