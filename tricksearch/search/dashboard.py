"""optuna-dashboard over a run's mirror: on this machine alone, following a run that goes on."""

from __future__ import annotations

import os
import tempfile
import threading
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from tricksearch.contract import InputError, discover
from tricksearch.records.constraints import Bound, resolved
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import FRONT_PHASES, Record, machine_line
from tricksearch.search.space.space import Space
from tricksearch.store.facts import STUDY
from tricksearch.store.run import StoredRun
from tricksearch.study.study import Study

STOPPED = "stopped"  # the status of a trial that its rivals ended early


class OptunaMirror:
    """An Optuna study of a run's records. The store stays the truth: nothing is read back from here."""

    _bounds: list[Bound]
    _shown: set[str]
    _study: optuna.Study

    def __init__(self, run: StoredRun, file: Path) -> None:
        """OptunaMirror the store of a run to `file`, which is made, and must not be there yet.

        Raises InputError where the store holds no study, or a trick of the study is not here.
        """
        self._run, self._store = run, run.store
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
        plain = self._store.fact(STUDY)
        if plain is None or plain != self._plain:
            self._begin(plain)
        if self._store.count() == len(self._shown):
            return 0
        records = self._store.records()
        bounds = resolved(self._of.constraints, records)
        gone = self._shown.difference(record.id for record in records)  # they were set aside
        if gone or (self._shown and bounds != self._bounds):
            self._begin(plain)  # the baseline is known now, and what is shown was not measured against it
        self._bounds = bounds
        fresh = [record for record in records if record.id not in self._shown]
        for record in fresh:
            self._shown.add(record.id)
            if record.phase not in FRONT_PHASES:
                continue  # another budget, or what the others are held against
            excess = [
                (value - bound.value) * (1 if bound.at_most else -1)
                for bound in bounds
                if (value := record.value(bound.measure)) is not None
            ]
            self._study.add_trial(_trial(record, self._of, self._space, excess))
        return len(fresh)

    def close(self) -> None:
        """Give back the connections."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    def _begin(self, plain: Any) -> None:
        """Begin anew: what an Optuna study holds of finished trials cannot change, and domains and bounds can."""
        self._of = self._run.study
        registry = discover(self._of.plugins)
        absent = [name for name in self._of.tricks if name not in registry]
        if absent:
            raise InputError(
                f"the study's trick '{absent[0]}' is not here",
                place=str(self._run.folder),
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
    point = study.goals.point(record) if record.finished else None
    complete = point is not None
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
        values=point,
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


HOST = "127.0.0.1"
MIRROR = "optuna.db"
SECONDS = 2.0  # between two looks into the store


def write_mirror(folder: Path) -> tuple[Path, int]:
    """Write RUN/optuna.db anew, in one step; returns its path and how many records it holds. Raises InputError."""
    with StoredRun.open(folder) as run:
        try:
            with tempfile.TemporaryDirectory(prefix=".optuna-", dir=folder) as scratch:
                mirror = OptunaMirror(run, Path(scratch) / MIRROR)
                mirror.close()
                os.replace(Path(scratch) / MIRROR, folder / MIRROR)
        except OSError as error:
            raise InputError(
                f"the mirror cannot be written: {error.strerror}", place=str(folder), remedy="make the folder writable"
            ) from error
        return folder / MIRROR, run.store.count()


def serve(folder: Path, port: int, note: Callable[[str], None]) -> None:
    """Serve the dashboard of a run until KeyboardInterrupt; `port` 0 takes a free one. Raises InputError.

    Nothing is sent anywhere: the server listens on the loopback address, and its pages load from it alone.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise InputError(
            f"the dashboard needs the package optuna-dashboard: {error}",
            remedy="install it with pip install 'tricksearch[dashboard]', or write the mirror alone with --no-serve",
        ) from error
    with StoredRun.open(folder) as run, tempfile.TemporaryDirectory(prefix="tricksearch-dashboard-") as scratch:
        mirror = OptunaMirror(run, Path(scratch) / MIRROR)
        try:
            with _server(port, wsgi(mirror.storage)) as server, _following(mirror, note):
                note(f"Dashboard of {folder}: http://{HOST}:{server.server_port}/ (Ctrl-C ends it)")
                server.serve_forever()
        finally:
            mirror.close()


class _following:
    """Keeps a mirror up to date in a thread of its own until the block ends."""

    def __init__(self, mirror: OptunaMirror, note: Callable[[str], None]) -> None:
        self._mirror, self._note, self._over = mirror, note, threading.Event()
        self._thread = threading.Thread(target=self._follow, name="mirror", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        noted = ""
        while not self._over.wait(SECONDS):
            try:
                self._mirror.update()
                noted = ""
            except Exception as error:  # a server that restarts, a study that changes: the page stays, and goes on
                if str(error) != noted:
                    self._note(f"What is new cannot be shown for now: {error}")
                noted = str(error)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


def _server(port: int, app: Any) -> WSGIServer:
    try:
        return make_server(HOST, port, app, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        raise InputError(
            f"port {port} of {HOST} cannot be used: {error.strerror}", place="--port", remedy="choose another, or 0"
        ) from error
