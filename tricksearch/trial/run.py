"""A trial: one recipe and one seed in, one record out; and with it the variants that share its training."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tricksearch.contract import InputError, Registry, TrialError, discover
from tricksearch.trial.bounds import Bound, Rejected, broken
from tricksearch.trial.cache import Cache
from tricksearch.trial.data import DataSet, load_data
from tricksearch.trial.hardware import extra_versions, hardware, versions
from tricksearch.trial.machine import Machine
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.record import FINISHED, FORESEEN, REJECTED, STOPPED, Record
from tricksearch.trial.rungs import Progress, Report, Rungs, Stopped
from tricksearch.trial.runner import Runner
from tricksearch.trial.settings import DataSettings
from tricksearch.trial.stages import Note, Shop, Stages

log = logging.getLogger(__name__)


def run_trial(
    recipe: Recipe,
    seed: int,
    *,
    cache: Path | Cache,
    variants: Sequence[Recipe] = (),
    bounds: Sequence[Bound] = (),
    number: int = 0,
    phase: str = "search",
    note: Note = lambda text: None,
    reraise: tuple[type[Exception], ...] = (),
    rungs: Collection[int] = (),
    report: Report = lambda progress: None,
    memory_gib: float | None = None,
    gpus: float | None = None,
    test: bool = False,
    fresh: bool = False,
) -> list[Record]:
    """Run a trial, then its variants: recipes that differ from it behind the training alone. One record each.

    Whatever befalls one becomes its record's status and reason; only an interrupt passes through. Variants of a
    training that failed are left out. A recipe that is seen to break a bound before it is trained is rejected.
    `cache` is what is known already, or its folder; `note` hears which stage begins; errors of the kinds in `reraise`
    come out as they were raised. After the epochs in `rungs`, counted from 1, `report` hears how far the trial's
    training has come, and may end it by raising Stopped; of a net that is known already it hears nothing.
    `memory_gib` is what this process may hold, `gpus` the part of a GPU whose memory it may. With `test`, the test
    split is scored too, which nothing else ever reads. With `fresh`, latency and memory are measured for this trial
    alone, not taken from another's graph of the same shape; the same trial, run again, finds its own. Raises
    InputError where no trial of this study could run here: its data, its plugins or its cache are not there, or the
    disk is full.
    """
    torch.set_num_threads(recipe.train.threads)
    machine = Machine(memory=None if memory_gib is None else int(memory_gib * 2**30))
    if gpus is not None and 0 < gpus < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpus)
    records: list[Record] = []
    tester: Runner | None = None
    try:
        with machine.shared():
            registry, data = _tricks(recipe.plugins), cached_data(recipe.data)
            known = cache if isinstance(cache, Cache) else Cache(cache)
            known.check()
            with known.in_use():
                # Of its own, so that no test image is in a process that others use; it ends with the trial.
                tester = Runner(data.test.pixels.numpy()) if test else None
                shop = Shop(
                    registry, data, known, machine, _runner(data), note, tester, fresh=number if fresh else None
                )
                for variant, each in enumerate((recipe, *variants)):
                    # A variant trains only where the trial itself was rejected, and then it is not what was proposed.
                    form = _Form(each, seed, number, variant, phase if variant == 0 else "search")
                    record, training_failed = _record(
                        form, shop, bounds, reraise, frozenset(rungs) if variant == 0 else frozenset(), report
                    )
                    records.append(record)
                    if training_failed:
                        break
    finally:
        if tester is not None:
            tester.close()
        machine.close()
        if torch.cuda.is_available():
            with contextlib.suppress(RuntimeError):  # after a fault of the device it would hide the fault itself
                torch.cuda.empty_cache()
    return records


@dataclass
class _Form:
    """What of a record is known before anything is measured."""

    recipe: Recipe
    seed: int
    trial: int
    variant: int
    phase: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.perf_counter)

    def filled(
        self, stages: Stages | None, status: str, reason: str, measured: Mapping[str, Any], spent: float
    ) -> Record:
        return Record(
            trial=self.trial,
            phase=self.phase,
            variant=self.variant,
            status=status,
            reason=reason,
            seed=self.seed,
            recipe=self.recipe.model_dump(mode="json"),
            started=self.started.isoformat(timespec="seconds"),
            wall_seconds=round(time.perf_counter() - self.clock, 3),
            hardware=hardware(),
            versions=versions() | extra_versions(),
            reused=list(stages.reused) if stages else [],
            spent_seconds=round(spent, 3),
            spent_epochs=round(stages.spent_epochs, 3) if stages else 0.0,
            **measured,
        )


def _record(
    form: _Form,
    shop: Shop,
    bounds: Sequence[Bound],
    reraise: tuple[type[Exception], ...],
    rungs: frozenset[int],
    report: Report,
) -> tuple[Record, bool]:
    """The record of one variant, and whether its training failed or was stopped."""
    status, reason, measured = FINISHED, "", {}
    stages: Stages | None = None
    foreseen: Mapping[str, Any] = {}
    last: Record | None = None

    def tell(epoch: int, accuracy: float) -> None:
        nonlocal last
        assert stages is not None  # for the type checker
        last = form.filled(stages, STOPPED, "", {"train_seconds": stages.training_seconds}, stages.spent_so_far)
        shape = {name: foreseen[name] for name in sorted(FORESEEN) if foreseen.get(name) is not None}
        with shop.machine.waiting():
            report(Progress(epoch, {"accuracy": accuracy, **shape}, last))

    try:
        with tempfile.TemporaryDirectory(prefix="tricksearch-") as folder:
            stages = Stages(form.recipe, form.seed, shop, Path(folder), Rungs(rungs, tell) if rungs else None)
            # At a rung the trial is compared by what training does not change as well; no known net comes to one.
            if any(bound.measure in FORESEEN for bound in bounds) or (rungs and not stages.trained):
                foreseen = stages.foreseen() or {}
                if why := broken(bounds, foreseen):
                    raise Rejected(f"{why}; seen before training", foreseen)
            measured = stages.measures()
    except reraise:
        raise
    except Rejected as error:
        status, reason, measured = REJECTED, str(error), error.measures
    except Exception as error:
        _refuse_full_disk(error)
        if isinstance(error, Stopped) and last is not None:
            return replace(last, reason=str(error)), True
        if not isinstance(error, TrialError):  # those are reasons, not faults
            log.exception("the trial failed")
        status, reason = _status(error)
    record = form.filled(stages, status, reason, measured, stages.spent_seconds if stages else 0.0)
    # Where not even the stages could be built, nothing is known of the training: the next one finds out for itself.
    return record, stages is not None and stages.keys.train in shop.failed


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


def _status(error: Exception) -> tuple[str, str]:
    """The status of a trial that ended so, and the reason in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, TrialError):
        return error.status, text
    if isinstance(error, InputError):
        return "failed", text
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text
    return "out_of_memory" if memory else "failed", f"{type(error).__name__}: {text}"[:500]


_loaded: dict[DataSettings, DataSet] = {}


def cached_data(settings: DataSettings, progress: Note | None = None) -> DataSet:
    """A data set, kept for the next trial of this process; `progress` hears of a download and the like."""
    if settings not in _loaded:
        _loaded.clear()  # one at a time: a data set may be most of the memory
        _loaded[settings] = load_data(settings, progress)
    return _loaded[settings]


def keep_data(settings: DataSettings, data: DataSet) -> None:
    """Give the trials of this process a data set that `load_data` would not find here."""
    _loaded.clear()
    _loaded[settings] = data


@functools.cache
def _tricks(folders: tuple[str, ...]) -> Registry:
    return discover(folders)
