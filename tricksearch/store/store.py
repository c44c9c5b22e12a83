"""The store: the one truth of a study, a SQLite file or a namespace of a PostgreSQL database.

Records are only added; one that is set aside keeps its row, and no longer counts.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tricksearch.contract import InputError
from tricksearch.records.record import Record
from tricksearch.store.facts import FRONT_TIMING, HOLDER, Fact, T
from tricksearch.store.schema import facts as _facts
from tricksearch.store.schema import lock_key, prepare, prove
from tricksearch.store.schema import records as _records
from tricksearch.store.schema import reports as _reports
from tricksearch.study.store_url import without_password

CONNECT_SECONDS = 10
SET_ASIDE = "set aside"  # stands in the column of phases; the record itself stays as it was
# So that a server misses a holder whose machine went dark after a minute; its own default is two hours.
KEEPALIVE = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}


class Store:
    """Records and a few named facts. Every write is one transaction, on the disk when the call returns."""

    def __init__(self, url: str, namespace: str | None = None, *, hold: bool = False, read_only: bool = False) -> None:
        """Open the store, and make its tables where there are none; one that is `read_only` is left as it is.

        `namespace` is the schema of a PostgreSQL database that holds this study alone. With `hold` it is held there
        against every other holder, on whatever host, until it is closed or this process dies; the hold of a SQLite
        file is the run folder's. Raises InputError where it is held, cannot be reached or cannot be read.
        """
        parsed = sa.make_url(url)
        self._namespace = namespace
        self._held: sa.Connection | None = None
        self._remote = parsed.get_backend_name() != "sqlite"
        self.place = parsed.database or url
        if self._remote:
            self.place = f"{without_password(url)}, schema '{namespace}'"
        self._engine = self._made(parsed, read_only)
        try:
            with self._guard():
                if hold and self._remote:
                    self._held = self._hold()
                if read_only:
                    prove(self._engine, self.place)
                else:
                    prepare(self._engine, namespace, self.place)
            if self._held is not None:
                self.put_fact(HOLDER, f"process {os.getpid()} on {socket.gethostname()}")
        except BaseException:
            self.close()
            raise

    @classmethod
    def at(cls, path: Path) -> Store:
        """The store in this SQLite file, made if absent."""
        return cls(f"sqlite:///{path}")

    def add(self, records: Sequence[Record]) -> None:
        """Append the records of one trial, all or none. Raises InputError where the store cannot be written."""
        rows = [
            {
                "trial": record.trial,
                "variant": record.variant,
                "phase": record.phase,
                "status": record.status,
                "reason": record.reason.replace("\0", "\ufffd"),  # PostgreSQL's text holds no NUL; the JSON writes it
                "recipe_key": record.recipe_key,
                "seed": record.seed,
                "record": json.dumps(record.to_json()),
            }
            for record in records
        ]
        with self._write() as connection:
            connection.execute(_records.insert(), rows)

    def records(self) -> list[Record]:
        """Every record that counts, by the numbers of trial and variant: all but those that were set aside."""
        records = self._records_where(_records.c.phase != SET_ASIDE)
        again = (self.fact(FRONT_TIMING) or {}).get("graphs", {})
        return [replace(one, timed_again=again[one.graph]) if one.graph in again else one for one in records]

    def records_set_aside(self) -> list[Record]:
        """The records that were set aside, by the numbers of trial and variant."""
        return self._records_where(_records.c.phase == SET_ASIDE)

    def count(self) -> int:
        """The number of records that count."""
        query = sa.select(sa.func.count()).select_from(_records).where(_records.c.phase != SET_ASIDE)
        with self._guard(), self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def set_aside(self, records: Sequence[Record], facts: Mapping[Fact[Any], Any]) -> None:
        """Keep these records apart from now on: they no longer count, and their recipes may be run again.

        Their trials' numbers stay taken. The reports of a trial that has no other record go. The facts are stored in
        the same transaction.
        """
        with self._write() as connection:
            for record in records:
                row = (_records.c.trial == record.trial) & (_records.c.variant == record.variant)
                number = connection.execute(sa.select(_records.c.id).where(row)).scalar_one()
                # Recipe and seed of a record that counts are in the store once; the JSON keeps the recipe.
                changed = {"phase": SET_ASIDE, "recipe_key": f"aside {number}"}
                connection.execute(_records.update().where(row).values(**changed))
            left = sa.select(_records.c.trial).where(_records.c.phase != SET_ASIDE)
            gone = {record.trial for record in records} - set(connection.execute(left).scalars())
            connection.execute(_reports.delete().where(_reports.c.trial.in_(gone)))
            for fact, value in facts.items():
                _put(connection, fact, value)

    def _records_where(self, rows: sa.ColumnElement[bool]) -> list[Record]:
        query = sa.select(_records.c.record).where(rows).order_by(_records.c.trial, _records.c.variant)
        with self._guard(), self._engine.connect() as connection:
            return [Record.from_json(json.loads(row)) for row in connection.execute(query).scalars()]

    def report(self, trial: int, epoch: int, measures: Mapping[str, float]) -> None:
        """Append what a trial measured at the end of an epoch (from 1).

        A second report of the same trial and epoch takes the first one's place: a trial that was lost runs again.
        """
        text = json.dumps(dict(measures))
        with self._write() as connection:
            connection.execute(_reports.delete().where(_reports.c.trial == trial, _reports.c.epoch == epoch))
            connection.execute(_reports.insert().values(trial=trial, epoch=epoch, measures=text))

    def forget_reports(self, kept: Collection[int]) -> int:
        """Drop the reports of all trials but these; returns the epochs that the others had come to, added up."""
        with self._guard(), self._engine.connect() as connection:
            reported = set(connection.execute(sa.select(_reports.c.trial).distinct()).scalars())
        return sum(self.forget_reports_of(trial) for trial in reported - set(kept))

    def forget_reports_of(self, trial: int) -> int:
        """Drop the reports of a trial; returns the last epoch that it reported, 0 without any."""
        with self._write() as connection:
            last = connection.execute(
                sa.select(sa.func.max(_reports.c.epoch)).where(_reports.c.trial == trial)
            ).scalar()
            connection.execute(_reports.delete().where(_reports.c.trial == trial))
        return last or 0

    def reports(self) -> list[tuple[int, int, dict[str, float]]]:
        """Every report as (trial, epoch, measures), by trial and epoch."""
        with self._guard(), self._engine.connect() as connection:
            rows = connection.execute(sa.select(_reports).order_by(_reports.c.trial, _reports.c.epoch)).all()
            return [(row.trial, row.epoch, json.loads(row.measures)) for row in rows]

    def fact(self, fact: Fact[T]) -> T | None:
        """The value of a fact, or None where it is not known."""
        with self._guard(), self._engine.connect() as connection:
            value = connection.execute(sa.select(_facts.c.value).where(_facts.c.name == fact.name)).scalar()
            return None if value is None else json.loads(value)

    def put_fact(self, fact: Fact[T], value: T) -> None:
        """Store a fact, in place of its earlier value."""
        with self._write() as connection:
            _put(connection, fact, value)

    def close(self) -> None:
        """Give back the connections, and with them the hold."""
        if self._held is not None:
            self._held.invalidate()  # a session that went back into the pool would keep the lock
            self._held.close()
            self._held = None
        self._engine.dispose()

    def _made(self, url: sa.URL, read_only: bool) -> sa.Engine:
        if not self._remote:
            engine = sa.create_engine(url)
            sa.event.listen(engine, "connect", _sqlite_reader if read_only else _sqlite_settings)
            return engine
        settings = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
        try:
            engine = sa.create_engine(url, connect_args=settings)
        except ImportError as error:
            raise InputError(
                f"a store in PostgreSQL needs the package psycopg: {error}",
                place=self.place,
                remedy="install it with pip install 'tricksearch[postgresql]'",
            ) from error
        return engine.execution_options(schema_translate_map={None: self._namespace}, postgresql_readonly=read_only)

    def _hold(self) -> sa.Connection:
        """The session that has the namespace's advisory lock, which the server gives back when the session ends."""
        connection = self._engine.connect()
        try:
            key = lock_key(self._namespace)
            if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar():
                raise InputError(
                    f"another run is using this study's store ({self._holder()})",
                    place=self.place,
                    remedy="wait for it, or give the study another name",
                )
            for name, value in KEEPALIVE.items():
                connection.execute(sa.select(sa.func.set_config(name, str(value), False)))
            connection.commit()
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        return connection

    def _holder(self) -> str:
        try:
            return self.fact(HOLDER) or "another process"
        except InputError:  # it is still making the tables
            return "another process"

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        """A transaction. A holder writes through the session that has the lock, so no write outlives the hold."""
        with self._guard():
            if self._held is None:
                with self._engine.begin() as connection:
                    yield connection
                return
            if self._held.invalidated:  # SQLAlchemy would connect again, without the lock
                raise InputError(
                    "the session that held the store was lost", place=self.place, remedy="run the same command again"
                )
            with self._held.begin():
                yield self._held

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.IntegrityError:
            raise
        except sa.exc.DBAPIError as error:
            text = " ".join(str(error.orig or error).split())
            full = "full" in text or "No space left" in text
            if full:
                remedy = "free some disk space and run the same command again: what is stored is kept"
            elif self._remote:
                remedy = (
                    "see that the server runs and lets this user in (a password stands in PGPASSWORD, ~/.pgpass or the "
                    "study's URL), and run the same command again: what is stored is kept"
                )
            else:
                remedy = "see that the file is a tricksearch store and may be written, or give --out another folder"
            raise InputError(f"the store cannot be used: {text}", place=self.place, remedy=remedy) from error


def _put(connection: sa.Connection, fact: Fact[Any], value: Any) -> None:
    connection.execute(_facts.delete().where(_facts.c.name == fact.name))
    connection.execute(_facts.insert().values(name=fact.name, value=json.dumps(value)))


def _sqlite_settings(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # a report may read while a search writes
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def _sqlite_reader(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")  # a file opened with mode=ro would be left with an empty log beside it
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()
