"""The store's tables, and the steps that lead from the tables of older versions to these."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tricksearch.contract import InputError

SCHEMA = 3
tables = sa.MetaData()
records = sa.Table(
    "records",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("variant", sa.Integer, nullable=False),
    sa.Column("phase", sa.String(20), nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("recipe_key", sa.String(16), nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("record", sa.Text, nullable=False),  # the whole record as JSON
    sa.UniqueConstraint("trial", "variant"),
    sa.UniqueConstraint("recipe_key", "seed"),
)
facts = sa.Table(
    "facts",
    tables,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),  # JSON
)
reports = sa.Table(
    "reports",
    tables,
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("measures", sa.Text, nullable=False),  # JSON
    sa.UniqueConstraint("trial", "epoch"),
)


def _reports_of_epochs(connection: sa.Connection) -> None:
    reports.create(connection)


# From the schema of this number to the next one. A step never changes once it was released: what a later version
# changes is a later step.
STEPS: Mapping[int, Callable[[sa.Connection], None]] = {2: _reports_of_epochs}


def prepare(engine: sa.Engine, namespace: str | None, place: str) -> None:
    """Make the tables where there are none, and bring older ones up to date, in one transaction.

    A SQLite file is copied first, to `<name>.schema<number>.db` beside it. Raises InputError for a store that this
    version cannot read, and leaves that one as it is.
    """
    with engine.connect() as connection:
        if _found(connection) == SCHEMA:
            return
    with _alone(engine, namespace) as connection:
        found = _found(connection)  # once more: another process may have been faster
        if found is None:
            tables.create_all(connection)
            connection.execute(facts.insert().values(name="schema", value=str(SCHEMA)))
            return
        if found != SCHEMA and found not in STEPS:
            raise _unreadable(found, place)
        if found != SCHEMA and engine.url.database and engine.dialect.name == "sqlite":
            _copy(Path(engine.url.database), found)
        for number in range(found, SCHEMA):
            STEPS[number](connection)
        connection.execute(facts.update().where(facts.c.name == "schema").values(value=str(SCHEMA)))


def prove(engine: sa.Engine, place: str) -> None:
    """Raise InputError unless these are tables of this version's schema; nothing is changed."""
    with engine.connect() as connection:
        found = _found(connection)
    if found is None:
        raise InputError("there is no study in this store", place=place, remedy="name the folder of a run")
    if found in STEPS:
        raise InputError(
            f"the store has schema {found}, this version reads schema {SCHEMA}, and a store that is only read is left "
            "as it is",
            place=place,
            remedy="bring it up to date with 'tricksearch report' on its run folder, which keeps a copy of a SQLite "
            "file, or name a copy of that folder",
        )
    if found != SCHEMA:
        raise _unreadable(found, place)


def _unreadable(found: int, place: str) -> InputError:
    return InputError(
        f"the store has schema {found}, this version reads schema {SCHEMA}",
        place=place,
        remedy="use the version of tricksearch that wrote it, or begin another run",
    )


def lock_key(namespace: str | None) -> int:
    """The number of the advisory lock that the holder of a namespace has; the one after it guards its making."""
    digest = hashlib.sha256(f"tricksearch:{namespace}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True) & ~1


def _found(connection: sa.Connection) -> int | None:
    """The number of the schema that is there, or None."""
    schema = connection.schema_for_object(facts)
    if not sa.inspect(connection).has_table(facts.name, schema=schema):
        return None
    value = connection.execute(sa.select(facts.c.value).where(facts.c.name == "schema")).scalar()
    return None if value is None else int(value)


@contextmanager
def _alone(engine: sa.Engine, namespace: str | None) -> Iterator[sa.Connection]:
    """A transaction that no other process's comes between, the making of tables included."""
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_key(namespace) + 1)))
            if namespace is not None and not sa.inspect(connection).has_schema(namespace):
                connection.execute(sa.schema.CreateSchema(namespace))
            yield connection
        return
    with engine.connect() as connection:
        # Python's sqlite3 begins no transaction before CREATE TABLE; left alone, it lets one be begun by hand.
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def _copy(path: Path, schema: int) -> None:
    """Copy a SQLite file, with what still stands in its write-ahead log, in one step."""
    copy = path.with_name(f"{path.stem}.schema{schema}{path.suffix}")
    part = copy.with_name(f".{copy.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        source, target = sqlite3.connect(path), sqlite3.connect(part)
        try:
            source.backup(target)
        finally:
            target.close()
            source.close()
        os.replace(part, copy)
    except (OSError, sqlite3.Error) as error:
        part.unlink(missing_ok=True)
        raise InputError(
            f"the store has schema {schema}, and the copy that is made before it is changed cannot be written: {error}",
            place=str(copy),
            remedy="free some space there, or make the folder writable; nothing was changed",
        ) from error
