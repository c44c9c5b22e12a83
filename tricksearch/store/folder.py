"""The run folder: one study, one holder at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tricksearch.contract import InputError, Registry, has_source, inner_tricks, source_hash
from tricksearch.contract.code import CODE
from tricksearch.records.files import replace_file
from tricksearch.records.record import Record
from tricksearch.store.changed_code import CHOICE, ChangedTricks, go_on, having
from tricksearch.store.changed_data import note_data, other_data
from tricksearch.store.facts import DATA, HISTORY, SOURCES, STUDY
from tricksearch.store.store import Store
from tricksearch.study.changes import changes
from tricksearch.study.recipe_file import load_recipe
from tricksearch.study.settings import PHASES
from tricksearch.study.store_url import namespace, same_login, without_password
from tricksearch.study.study import Study, written_out

if TYPE_CHECKING:
    from tricksearch.trial.data import DataSet

FREE_BYTES = 100 * 2**20  # below this a run could not even write its report
STORE = "store.db"
POINTER = "store.json"  # in its place where the store is in a database


@contextlib.contextmanager
def held_folder(folder: Path) -> Iterator[Path]:
    """Make the folder and hold it against other runs until the block ends. Raises InputError where that cannot be.

    The kernel drops the hold of a process that dies, however it dies.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(
            f"the run folder cannot be used: {error.strerror}",
            place=str(folder),
            remedy="give --out another folder",
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(lock, 200, 0).decode(errors="replace").strip() or "another process"
            raise InputError(
                f"another run is using this folder ({holder})",
                place=str(folder),
                remedy="wait for it, or give --out another folder",
            ) from None
        free = shutil.disk_usage(folder).free
        if free < FREE_BYTES:
            raise InputError(
                f"the disk is full: {free / 2**20:.0f} MiB are free and a run needs {FREE_BYTES / 2**20:.0f}",
                place=str(folder),
                remedy="free some space, or give --out a folder on another disk; what is stored is kept",
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield folder
    finally:
        os.close(lock)


def open_study(
    folder: Path,
    study: Study,
    registry: Registry,
    changed_tricks: ChangedTricks | None = None,
    data: DataSet | None = None,
) -> tuple[Store, list[str]]:
    """The store of a run folder that is held, and what changed in the study since its last run.

    The store is proved to hold this study and no other; one in a database is held too, until it is closed.
    `changed_tricks` says what becomes of the records of a trick whose code changed; `data` are what trials would be
    measured on. Raises InputError where the store holds another study or records of other data, and without
    `changed_tricks` where it has such records.
    """
    if study.store is None:
        if (folder / POINTER).is_file():
            raise InputError(
                f"the store of this folder is {_pointer(folder)[0]}, and the study names none",
                place=str(folder),
                remedy="name it with the key 'store', or give --out another folder",
            )
        store = Store.at(folder / STORE)
    else:
        store = _in_database(folder, study.store, study.name)
    try:
        return store, adopt(store, study, registry, folder, changed_tricks, data)
    except BaseException:
        store.close()
        raise


def open_store(folder: Path, study: Study, registry: Registry) -> Store:
    """The store of a run folder that is held, proved to hold this study and no other. Raises InputError."""
    return open_study(folder, study, registry)[0]


def has_store(folder: Path) -> bool:
    """Whether the folder is that of a run."""
    return (folder / STORE).is_file() or (folder / POINTER).is_file()


def read_store(folder: Path, url: str | None = None, *, read_only: bool = False) -> Store:
    """The store of an earlier run; `url` is that of its database with the password, which the folder does not hold.

    One that is `read_only` refuses writes. Raises InputError where there is none, or it cannot be reached or read.
    """
    if (folder / POINTER).is_file():
        address, name = _pointer(folder)
        return Store(url or address, name, read_only=read_only)
    if not (folder / STORE).is_file():
        raise InputError(f"there is no '{STORE}' in this folder", place=str(folder), remedy="name the folder of a run")
    return Store(f"sqlite:///{folder / STORE}", read_only=True) if read_only else Store.at(folder / STORE)


def read_records(folder: Path, url: str | None = None) -> list[Record]:
    """The records of another study's run, which is left as it is.

    `url` is that of the reader's own store: where it is of the same user in the same database, its password is used,
    elsewhere PGPASSWORD or ~/.pgpass. Raises InputError where there are no records to be read.
    """
    known = url is not None and (folder / POINTER).is_file() and same_login(url, _pointer(folder)[0])
    store = read_store(folder, url if known else None, read_only=True)
    try:
        return store.records()
    finally:
        store.close()


def _in_database(folder: Path, url: str, name: str) -> Store:
    """The study's store in a database, which the folder points to from now on."""
    here = without_password(url)
    known, schema = _pointer(folder) if (folder / POINTER).is_file() else (here, namespace(name))
    if (folder / STORE).is_file() or known != here:
        raise InputError(
            f"the store of this folder is {STORE if (folder / STORE).is_file() else known}, and the study names {here}",
            place=str(folder),
            remedy=f"set the study's 'store' back, or give --out another folder; a database that moved is named in "
            f"{folder / POINTER}",
        )
    store = Store(url, schema, hold=True)
    text = json.dumps({"url": here, "schema": schema}, indent=1) + "\n"
    replace_file(folder / POINTER, lambda part: part.write_text(text, encoding="utf-8"))
    return store


def _pointer(folder: Path) -> tuple[str, str]:
    """The URL without its password, and the schema, of the store that a folder points to."""
    try:
        pointer = json.loads((folder / POINTER).read_text(encoding="utf-8"))
        return str(pointer["url"]), str(pointer["schema"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"it should tell where the store is, and cannot be read: {error!r}",
            place=str(folder / POINTER),
            remedy='write {"url": "postgresql+psycopg://USER@HOST/DATABASE", "schema": "tricksearch_NAME"}',
        ) from None


def adopt(
    store: Store,
    study: Study,
    registry: Registry,
    folder: Path,
    changed_tricks: ChangedTricks | None = None,
    data: DataSet | None = None,
) -> list[str]:
    """Prove that the store holds this study, and note there what changed since the last run; returns that in words.

    Tricks may come and go and change their domains, and the search its size and its sampler; records stay. Raises
    InputError, and changes nothing, for another study, for other data, and for a trick whose code is not that of its
    records, unless `changed_tricks` says what becomes of those.
    """
    stored = store.fact(STUDY)
    sources = {name: source_hash(registry[name]) for name in _taking_part(study) if name in registry}
    known = store.fact(SOURCES) or {}
    plain = json.loads(study.model_dump_json())
    sentences: list[str] = []
    if stored is not None:
        difference = study.difference(stored)
        if difference:
            raise _refusal(
                store, study, folder, f"this {'store' if study.store else 'folder'} holds another study: {difference}"
            )
        if data is not None and store.count() and (what := other_data(store, data)):
            records = "the 1 record here was" if store.count() == 1 else f"the {store.count()} records here were"
            rule = f"the data are not those that {records} measured on: {what}"
            raise _refusal(store, study, folder, rule, back="put the data back")
        # What was run once stays a part of the study.
        before = written_out(stored)
        plain["phases"] = [phase for phase in PHASES if phase in {*before.get("phases", ()), *study.phases}]
        sentences = list(changes(before, plain))
        sentences += _with_changed_code(store, study, registry, folder, changed_tricks)
        if data is not None and store.count() and store.fact(DATA) is None:
            sentences.append(
                "an earlier version measured the records here and kept no fingerprint of their data: that they are "
                "those of today is taken for granted"
            )
    # What was taken out stays known: it may come back, and then it has to be the same.
    store.put_fact(SOURCES, known | sources)
    if stored is None or sentences:
        entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "difference": sentences}
        store.put_fact(HISTORY, [*(store.fact(HISTORY) or []), entry])
    if data is not None:
        note_data(store, data)
    store.put_fact(STUDY, plain)
    return sentences


def _taking_part(study: Study) -> set[str]:
    """The study's tricks, those of a recipe that is ablated, and those inside their values, such as a teacher's."""
    names = set()
    for name, use in study.tricks.items():
        if use.use != "never":
            lists = ({field: value} for field, values in use.fields.items() for value in _listed(values))
            names |= {name}.union(*(inner_tricks(values) for values in lists))
    if "ablate" in study.phases and study.ablate.around.endswith((".yaml", ".yml")):
        tricks = load_recipe(Path(study.ablate.around))[0].tricks  # its arms have tricks that the study need not name
        names |= set(tricks).union(*(inner_tricks(values) for values in tricks.values()))
    return names


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _with_changed_code(
    store: Store, study: Study, registry: Registry, folder: Path, how: ChangedTricks | None
) -> list[str]:
    """Go on with the records of tricks whose code is another now, and say what became of them. Raises InputError."""
    known = store.fact(SOURCES) or {}
    changed = {
        name: mark
        for name, mark in known.items()
        if name in _taking_part(study) and name in registry and not has_source(registry[name], mark)
    }
    records = store.records()
    changed = {name: mark for name, mark in changed.items() if having(records, [name])}
    if not changed:
        return []
    if how is not None:
        return go_on(store, changed, how)
    name, count = next(iter(changed)), len(having(records, changed))
    others = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
    rule = f"the code of '{name}'{others} has changed since {count} of the {len(records)} records here were measured"
    if not changed[name].startswith(CODE):
        rule = (
            f"the file of '{name}'{others} has changed since {count} of the {len(records)} records here were measured, "
            "by a version of tricksearch that did not note whether it is code or words that change"
        )
    raise _refusal(store, study, folder, rule, CHOICE)


def _refusal(
    store: Store, study: Study, folder: Path, rule: str, otherwise: str = "", back: str = "set it back"
) -> InputError:
    other = "give the study another name" if study.store else "give --out another folder"
    remedy = f"set the file back, {other}, or {otherwise}" if otherwise else f"{other}, or {back}; nothing was changed"
    return InputError(rule, place=store.place if study.store else str(folder), remedy=remedy)
