"""A mirror: what a run's store holds, as an Optuna study in a SQLite file, for whatever reads Optuna's storages."""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from tricksearch.contract import InputError, discover
from tricksearch.search.caches import study_of
from tricksearch.search.space import Space
from tricksearch.search.store import Store
from tricksearch.search.study import Study
from tricksearch.trial.bounds import Bound, resolved
from tricksearch.trial.record import FRONT_PHASES, MEASURES, Record, machine_line

STOPPED = "stopped"  # the status of a trial that its rivals ended early


class Mirror:
    """An Optuna study of a run's records. The store stays the truth: nothing is read back from here."""

    _bounds: list[Bound]
    _shown: set[str]
    _study: optuna.Study

    def __init__(self, store: Store, folder: Path, file: Path) -> None:
        """Mirror the store of the run in `folder` to `file`, which is made, and must not be there yet.

        Raises InputError where the store holds no study, or a trick of the study is not here.
        """
        self._store, self._folder = store, folder
        self._plain: Any = None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
        # A mirror that a power cut breaks is made anew, so it need not wait for the disk after each of five writes
        # for a record.
        sa.event.listen(
            self.storage.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF")
        )
        self.storage.engine.dispose()
        self.update()

    def update(self) -> int:
        """Add what the store has got since the last time; returns how many records that were. Raises InputError."""
        plain = self._store.fact("study")
        if plain is None or plain != self._plain:
            self._begin(plain)
        if self._store.count() == len(self._shown):
            return 0
        records = self._store.records()
        bounds = resolved(self._of.constraints, records)
        if self._shown and bounds != self._bounds:
            self._begin(plain)  # the baseline is known now, and what is shown was not measured against it
        self._bounds = bounds
        fresh = [record for record in records if record.id not in self._shown]
        for record in fresh:
            self._shown.add(record.id)
            if record.phase not in FRONT_PHASES:
                continue  # another budget, or what the others are held against
            excess = [
                (found - bound.value) * (1 if bound.at_most else -1)
                for bound in bounds
                if (found := getattr(record, bound.measure)) is not None
            ]
            self._study.add_trial(_trial(record, self._of, self._space, excess))
        return len(fresh)

    def close(self) -> None:
        """Give back the connections."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    def _begin(self, plain: Any) -> None:
        """Begin anew: what an Optuna study holds of finished trials cannot change, and domains and bounds can."""
        self._of = study_of(self._store, self._folder)
        registry = discover(self._of.plugins)
        absent = [name for name in self._of.tricks if name not in registry]
        if absent:
            raise InputError(
                f"the study's trick '{absent[0]}' is not here",
                place=str(self._folder),
                remedy="install the package or put back the plugins folder that it came from",
            )
        self._space, self._plain = Space.of(self._of, registry), plain
        self._shown = set()
        self._bounds = []
        for known in optuna.get_all_study_names(self.storage):
            optuna.delete_study(study_name=known, storage=self.storage)
        self._study = optuna.create_study(
            storage=self.storage,
            study_name=self._of.name,
            directions=["maximize" if MEASURES[name].maximize else "minimize" for name in self._of.objectives],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.set_metric_names([_title(name) for name in self._of.objectives])


def _title(name: str) -> str:
    unit = MEASURES[name].unit
    return f"{name} [{unit}]" if unit and not name.endswith(f"_{unit}") else name


def _trial(record: Record, study: Study, space: Space, excess: list[float]) -> FrozenTrial:
    """A record as a finished Optuna trial; `excess` is how far it is beyond each bound, at most 0 if it keeps it."""
    values = [getattr(record, name) for name in study.objectives]
    complete = record.finished and all(value is not None for value in values)
    parameters = space.parameters(record.tricks)
    began = datetime.fromisoformat(record.started).astimezone().replace(tzinfo=None) if record.started else None
    about: dict[str, Any] = {
        "record": record.id,
        "status": record.status,
        "seed": record.seed,
        "variant": record.variant,
        "tricks": " + ".join(sorted(record.tricks)) or "(none)",
        "hardware": machine_line(record.hardware) if record.hardware else "",
    }
    if record.reason:
        about["reason"] = record.reason
    if parameters is None:  # of an earlier space, whose domains are not those of this one
        about["recipe"] = record.tricks
    trial = optuna.trial.create_trial(
        state=TrialState.COMPLETE if complete else TrialState.PRUNED if record.status == STOPPED else TrialState.FAIL,
        values=[float(value) for value in values] if complete else None,
        params=parameters or {},
        distributions=space.layout().domains(parameters or {}),
        user_attrs=about,
        system_attrs={"constraints": excess} if complete and excess else {},
    )
    if began is not None:
        # Optuna's times are local and naive; without these the trial would seem to have run just now.
        trial.datetime_start = began
        trial.datetime_complete = began + timedelta(seconds=record.wall_seconds or 0.0)
    return trial
