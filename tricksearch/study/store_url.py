"""The address of a store in a database: how a study names it, and how it is shown, which is without its password."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tricksearch.records.settings import problem

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

FORM = "write 'postgresql://USER@HOST/DATABASE', and leave the key out to keep the store in the run folder"
DRIVER = "postgresql+psycopg"
SECRETS = ("password", "sslpassword")  # of libpq's parameters, which may stand behind the '?'
LONGEST = 63  # bytes of a name in PostgreSQL, which cuts off the rest without a word


def checked_url(value: object) -> object:
    """A study's `store`, proved to be a PostgreSQL URL; no message holds any of it, because of its password."""
    if value is None:
        return None
    url = _parsed(value)
    if url is None:
        raise problem("a store is the URL of a PostgreSQL database, and this is not one that can be read", FORM)
    if url.drivername not in ("postgresql", DRIVER):
        kind = url.drivername.split("+")[0]
        raise problem(f"a store is the URL of a PostgreSQL database, this is one of '{kind}'", FORM)
    if "@" in (url.host or ""):
        raise problem("the URL holds more than one '@'", "write an '@' of the user's name or of the password as %40")
    return url.set(drivername=DRIVER).render_as_string(hide_password=False)


def without_password(url: str) -> str:
    """The same URL as it may be printed and written to files.

    >>> without_password("postgresql+psycopg://me:secret@db.example/tricks?sslpassword=x&sslmode=require")
    'postgresql+psycopg://me@db.example/tricks?sslmode=require'
    """
    from sqlalchemy.engine import URL, make_url

    full = make_url(url)
    bare = URL.create(full.drivername, full.username, None, full.host, full.port, full.database, full.query)
    return bare.difference_update_query(SECRETS).render_as_string(hide_password=False)


def same_login(one: str, other: str) -> bool:
    """Whether two URLs are of one user in one database, so that the password of one holds for the other.

    >>> same_login("postgresql+psycopg://me:secret@db/tricks?sslmode=require", "postgresql+psycopg://me@db/tricks")
    True
    """
    from sqlalchemy.engine import make_url

    first, second = (
        (url.username, url.host, url.port, url.database, url.query.get("host"), url.query.get("port"))
        for url in (make_url(one), make_url(other))
    )
    return first == second


def namespace(name: str) -> str:
    """The schema of the database that holds the study of this name; two names never share one.

    >>> namespace("digits")
    'tricksearch_digits'
    """
    full = f"tricksearch_{name}"
    if len(full.encode()) <= LONGEST:
        return full
    mark = hashlib.sha256(name.encode()).hexdigest()[:16]
    return full.encode()[: LONGEST - 17].decode(errors="ignore") + f"_{mark}"


def _parsed(value: object) -> URL | None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(value) if isinstance(value, str) else None
    except (ArgumentError, ValueError):
        return None
