"""The store: the one truth of a study. Append-only, in one SQLite file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tricksearch.contract import InputError
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.record import Record

SCHEMA = 2
_tables = sa.MetaData()
_records = sa.Table(
    "records",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("variant", sa.Integer, nullable=False),
    sa.Column("phase", sa.String(20), nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("recipe_key", sa.String(16), nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("record", sa.Text, nullable=False),  # the whole record as JSON
    sa.UniqueConstraint("trial", "variant"),
    sa.UniqueConstraint("recipe_key", "seed"),
)
_reports = sa.Table(
    "reports",
    _tables,
    sa.Column("trial", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True),
    sa.Column("measures", sa.Text, nullable=False),  # JSON
)
_facts = sa.Table(
    "facts",
    _tables,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),  # JSON
)


class Store:
    """Records and a few named facts. Every write is one transaction, on the disk when the call returns."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _sqlite_settings)
        self._place = self._engine.url.database or self._engine.url.render_as_string()
        with self._guard():
            _tables.create_all(self._engine)
        found = self.fact("schema")
        if found is None:
            self.put_fact("schema", SCHEMA)
        elif found != SCHEMA:
            raise InputError(
                f"the store has schema {found}, this version reads schema {SCHEMA}",
                place=self._place,
                remedy="use the version of tricksearch that wrote it, or give --out another folder",
            )

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
                "reason": record.reason,
                "recipe_key": Recipe.model_validate(record.recipe).key,
                "seed": record.seed,
                "record": json.dumps(record.to_json()),
            }
            for record in records
        ]
        with self._guard(), self._engine.begin() as connection:
            connection.execute(_records.insert(), rows)

    def records(self) -> list[Record]:
        """Every record, by the numbers of trial and variant."""
        with self._guard(), self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(_records.c.record).order_by(_records.c.trial, _records.c.variant)
            ).scalars()
            return [Record.from_json(json.loads(row)) for row in rows]

    def report(self, trial: int, epoch: int, measures: dict[str, float]) -> None:
        """Store what a trial measured after an epoch, in place of what it told of that epoch before."""
        row = {"trial": trial, "epoch": epoch, "measures": json.dumps(measures)}
        with self._guard(), self._engine.begin() as connection:
            connection.execute(_reports.delete().where(_reports.c.trial == trial, _reports.c.epoch == epoch))
            connection.execute(_reports.insert(), row)

    def reports(self) -> list[tuple[int, int, dict[str, float]]]:
        """Every report: trial, epoch, measures; by trial and epoch."""
        with self._guard(), self._engine.connect() as connection:
            rows = connection.execute(sa.select(_reports).order_by(_reports.c.trial, _reports.c.epoch)).all()
            return [(trial, epoch, json.loads(measures)) for trial, epoch, measures in rows]

    def fact(self, name: str) -> Any:
        """The JSON value stored under this name, or None."""
        with self._guard(), self._engine.connect() as connection:
            value = connection.execute(sa.select(_facts.c.value).where(_facts.c.name == name)).scalar()
            return None if value is None else json.loads(value)

    def put_fact(self, name: str, value: Any) -> None:
        """Store a JSON value under this name, in place of an earlier one."""
        with self._guard(), self._engine.begin() as connection:
            connection.execute(_facts.delete().where(_facts.c.name == name))
            connection.execute(_facts.insert().values(name=name, value=json.dumps(value)))

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.IntegrityError:
            raise
        except sa.exc.DatabaseError as error:
            text = str(error.orig or error)
            full = "full" in text or "No space left" in text
            raise InputError(
                f"the store cannot be used: {text}",
                place=self._place,
                remedy="free some disk space and run the same command again: what is stored is kept"
                if full
                else "see that the file is a tricksearch store and may be written, or give --out another folder",
            ) from error


def _sqlite_settings(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # a report may read while a search writes
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()
