"""The driver: a study in, a run folder out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from tricksearch.contract import InputError, discover
from tricksearch.records.hardware import usable_cores
from tricksearch.records.record import Record
from tricksearch.search.check import check_starts, check_study
from tricksearch.search.loop import Loop
from tricksearch.search.observer import Observer
from tricksearch.search.sigterm import closing_on_sigterm
from tricksearch.store.changed_code import ChangedTricks
from tricksearch.store.folder import held_folder, open_study
from tricksearch.store.run import cache_folder, write_resolved
from tricksearch.study.study import Study
from tricksearch.trial.cache import Cache
from tricksearch.trial.data.loaded import cached_data
from tricksearch.trial.faults import lost_device
from tricksearch.trial.run import run_job
from tricksearch.trial.rungs import Progress, Stopped

log = logging.getLogger(__name__)


def run_study(
    study: Study,
    folder: Path,
    observer: Observer,
    *,
    workers: int | None = None,
    address: str | None = None,
    local: bool = False,
    changed_tricks: ChangedTricks | None = None,
    at_end: Callable[[], object] = lambda: None,
) -> list[Record]:
    """Run a study to its end, or on from where an earlier run of it stopped; returns every record of it.

    With `local` the trials run one after another in this process, without Ray. `changed_tricks` says what becomes of
    records whose trick has another code now: "keep" or "set-aside", see `store.changed_code`. Raises InputError
    before anything trains for what cannot work; an interrupt passes through, and what has finished is stored.
    `at_end` is called while the folder is still held, also after an interrupt: to write what follows from the records.
    """
    if study.trial == "simulated" and address is not None:
        raise InputError("nothing of a simulated study is trained", place="--address", remedy="leave it out")
    if study.trial == "simulated":
        registry = discover(study.plugins)
        check_starts(study, registry)
    else:
        registry = check_study(study, elsewhere=address is not None)
    with held_folder(folder):
        data = None if study.trial == "simulated" else cached_data(study.data)
        store, changes = open_study(folder, study, registry, changed_tricks, data)
        try:
            write_resolved(folder, study)
            Cache(cache_folder(study, folder)).check()
            at_a_time = workers or study.search.workers or max(1, usable_cores() // study.train.threads)
            loop = Loop(study, registry, store, folder, observer, 1 if local else at_a_time)
            records = store.records()
            observer.begins(study, records, "this process" if local else address or "this machine")
            if changes:
                observer.changed(changes, loop.outside(records))
            try:
                with closing_on_sigterm(loop):
                    if loop.left and local:
                        _run_here(loop)
                    elif loop.left:
                        _run_on_ray(loop, workers or study.search.workers, address)
            except KeyboardInterrupt:
                try:
                    at_end()
                except Exception:  # the interrupt is what the caller has to see
                    log.exception("what follows from the records could not be written")
                raise
            at_end()
            return store.records()
        finally:
            store.close()


def _run_on_ray(loop: Loop, workers: int | None, address: str | None) -> None:
    if address is None:
        # Keeps Ray's servers on the loopback address, on Linux too; Ray reads it when imported.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        from tricksearch.search.workers.surroundings import bring_token

        bring_token()
    else:
        from tricksearch.search.cluster.bundle import use_token

        use_token()
    from tricksearch.search.workers.runner import run_on_ray

    run_on_ray(loop, workers, address)


def _run_here(loop: Loop) -> None:
    def report(progress: Progress) -> None:
        stopped = loop.report(progress.record.trial, progress)
        if stopped is not None:
            raise Stopped(stopped.reason)

    while (job := loop.next()) is not None:
        loop.finish(run_job(job, report))
        if lost_device.why:
            raise RuntimeError(
                f"the device no longer works in this process ({lost_device.why}), so no further trial can run in it; "
                f"trial {job.trial} is recorded, and the same command goes on behind it"
            )
