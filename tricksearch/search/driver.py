"""The driver: a study in, a run folder out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tricksearch.contract import InputError, NotApplicable, Registry, discover, source_file
from tricksearch.search.folder import held_folder, open_study, read_records
from tricksearch.search.job import run_job
from tricksearch.search.loop import Loop, Observer, cache_folder
from tricksearch.search.outputs import write_outputs, write_resolved
from tricksearch.search.phases.ablate import check_target
from tricksearch.search.phases.screen import Screen
from tricksearch.search.phases.tables import write_verdicts
from tricksearch.search.preemption import closing_on_sigterm
from tricksearch.search.space import Space
from tricksearch.search.store import Store
from tricksearch.search.study import Study
from tricksearch.trial.cache import Cache
from tricksearch.trial.hardware import usable_cores
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.record import Record
from tricksearch.trial.rungs import Progress, Stopped

if TYPE_CHECKING:
    from torch import nn


class RunObserver(Observer, Protocol):
    """An observer that also hears where a run begins."""

    def begins(self, study: Study, records: list[Record], workers: str) -> None:
        """The folder is ours and the records of earlier runs are known."""

    def changed(self, changes: Sequence[str], outside: int) -> None:
        """The study is not as its last run left it; so many of its records no longer fit the space."""


def run_study(
    study: Study,
    folder: Path,
    observer: RunObserver,
    *,
    workers: int | None = None,
    address: str | None = None,
    local: bool = False,
) -> list[Record]:
    """Run a study to its end, or on from where an earlier run of it stopped, and write its tables.

    With `local` the trials run one after another in this process, without Ray. Raises InputError before anything
    trains for what cannot work; an interrupt passes through when the tables have been written.
    """
    if study.trial == "simulated" and address is not None:
        raise InputError("nothing of a simulated study is trained", place="--address", remedy="leave it out")
    if study.trial == "simulated":
        registry = discover(study.plugins)
        _check_starts(study, registry)
    else:
        registry = check_study(study, elsewhere=address is not None)
    with held_folder(folder):
        store, changes = open_study(folder, study, registry)
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
                        if not address:
                            # Keeps Ray's servers on the loopback address, on Linux too; Ray reads it when imported.
                            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
                        else:
                            from tricksearch.search.cluster import use_token

                            use_token()
                        from tricksearch.search.ray_runner import run_on_ray

                        run_on_ray(loop, workers or study.search.workers, address)
            except KeyboardInterrupt:
                _write(folder, study, store)
                raise
            return _write(folder, study, store)
        finally:
            store.close()


def check_study(study: Study, elsewhere: bool = False) -> Registry:
    """Load the data, build the net, and let each trick that acts on the net act on it once. Raises InputError.

    With `elsewhere` the trials run on other machines, and a GPU need not be here.
    """
    import tempfile

    from tricksearch.contract import build, hooks
    from tricksearch.trial.bench import Bench
    from tricksearch.trial.machine import Machine
    from tricksearch.trial.nets import build_net
    from tricksearch.trial.precision import choose_device
    from tricksearch.trial.run import cached_data

    registry = discover(study.plugins)
    if not elsewhere:
        choose_device(study.train.device)
    # On the CPU, so that this process takes nothing of a GPU that the workers need.
    base = study.base_recipe()
    base = base.model_copy(update={"train": base.train.model_copy(update={"device": "cpu"})})
    data = cached_data(base.data)
    machine = Machine()
    _check_starts(study, registry)
    try:
        with tempfile.TemporaryDirectory(prefix="tricksearch-check-") as folder:
            bench = Bench(base, 0, registry, data, machine, Path(folder), teach=_untrained, net=_untrained)
            for name, use in study.tricks.items():
                if use.use == "never" or "model" not in hooks(registry[name]):
                    continue
                fixed = {field: value for field, value in use.fields.items() if not isinstance(value, list)}
                net = build_net(base.net, bench.num_classes, bench.input_shape)
                try:
                    build(registry[name], fixed).model(net, bench)
                except Exception as error:  # a plugin may raise anything
                    why = str(error) if isinstance(error, NotApplicable) else f"{type(error).__name__}: {error}"
                    raise InputError(
                        f"'{name}' cannot act on the net '{base.net.name}': {why}",
                        place=f"tricks.{name}",
                        remedy=f"take '{name}' out, choose another net, or mend {source_file(registry[name])}",
                    ) from error
            build_net(base.net, bench.num_classes, bench.input_shape)
    finally:
        machine.close()
    return registry


def _check_starts(study: Study, registry: Registry) -> None:
    """Raise InputError for what a search cannot start from: an earlier run that is not there, and the like."""
    if study.search.reproducible and study.search.stopping.rule != "none":
        raise InputError(
            "a search that stops trainings early decides by what has come in so far, which is not reproducible",
            place="search.reproducible",
            remedy="leave 'stopping' or 'reproducible' out",
        )
    space = Space.of(study, registry)
    for number, tricks in enumerate(study.search.first, start=1):
        if space.parameters(tricks) is None:
            raise InputError(
                f"recipe {number} of those to try first ({' + '.join(tricks) or 'no trick'}) is none that the study "
                "searches",
                place="search.first",
                remedy="let the study search each of its tricks, and its values lie in their domains",
            )
    for folder in study.search.learn_from:
        read_records(Path(folder), study.store)
    if "screen" in study.phases:
        Screen(study, space)
    check_target(study)


def _untrained(recipe: Recipe | None = None) -> nn.Module:
    raise NotApplicable("it asks for a trained net when the net is built")


def _write(folder: Path, study: Study, store: Store) -> list[Record]:
    records = store.records()
    if records:
        write_outputs(folder, study, records)
        write_verdicts(folder, study, store)
    return records


def _run_here(loop: Loop) -> None:
    def report(progress: Progress) -> None:
        stopped = loop.report(progress.record.trial, progress)
        if stopped is not None:
            raise Stopped(stopped.reason)

    while (job := loop.next()) is not None:
        loop.finish(run_job(job, report))
