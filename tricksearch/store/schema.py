"""The store's tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from tricksearch.contract import InputError
from tricksearch.store.facts import SCHEMA_NUMBER

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


def prepare(engine: sa.Engine, namespace: str | None, place: str) -> None:
    """Make the tables where there are none. Raises InputError for a store that this version cannot read."""
    with engine.connect() as connection:
        if _schema_of(connection) == SCHEMA:
            return
    with _alone(engine, namespace) as connection:
        schema = _schema_of(connection)  # once more: another process may have been faster
        if schema is None:
            tables.create_all(connection)
            connection.execute(facts.insert().values(name=SCHEMA_NUMBER.name, value=str(SCHEMA)))
        elif schema != SCHEMA:
            raise _unreadable(schema, place)


def prove(engine: sa.Engine, place: str) -> None:
    """Raise InputError unless these are tables of this version's schema; nothing is changed."""
    with engine.connect() as connection:
        schema = _schema_of(connection)
    if schema is None:
        raise InputError("there is no study in this store", place=place, remedy="name the folder of a run")
    if schema != SCHEMA:
        raise _unreadable(schema, place)


def _unreadable(schema: int, place: str) -> InputError:
    return InputError(
        f"the store has schema {schema}, this version reads schema {SCHEMA}",
        place=place,
        remedy="use the version of tricksearch that wrote it, or begin another run",
    )


def lock_key(namespace: str | None) -> int:
    """The number of the advisory lock that the holder of a namespace has; the one after it guards its making."""
    digest = hashlib.sha256(f"tricksearch:{namespace}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True) & ~1


def _schema_of(connection: sa.Connection) -> int | None:
    """The number of the schema that the store has, or None."""
    namespace = connection.schema_for_object(facts)
    if not sa.inspect(connection).has_table(facts.name, schema=namespace):
        return None
    value = connection.execute(sa.select(facts.c.value).where(facts.c.name == SCHEMA_NUMBER.name)).scalar()
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
