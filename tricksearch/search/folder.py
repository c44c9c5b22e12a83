"""The run folder: one study, one holder at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from tricksearch.contract import InputError, Registry, source_hash
from tricksearch.search.store import Store
from tricksearch.search.study import Study

FREE_BYTES = 100 * 2**20  # below this a run could not even write its report
STORE = "store.db"


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


def open_store(folder: Path, study: Study, registry: Registry) -> Store:
    """The folder's store, proved to hold this study, with these tricks, and no other. Raises InputError."""
    store = Store.at(folder / STORE)
    stored = store.fact("study")
    sources = {name: source_hash(registry[name]) for name, use in study.tricks.items() if use.use != "never"}
    if stored is None:
        store.put_fact("sources", sources)
        store.put_fact("study", json.loads(study.model_dump_json()))
        return store
    changed = [name for name, mark in (store.fact("sources") or {}).items() if sources.get(name, mark) != mark]
    difference = study.difference(stored)
    if not difference and changed:
        difference = f"the source of '{changed[0]}' is another than that of the trials there"
    if difference:
        store.close()
        raise InputError(
            f"this folder holds another study: {difference}",
            place=str(folder),
            remedy="give --out another folder, or set it back; nothing in the folder was changed",
        )
    store.put_fact("study", json.loads(study.model_dump_json()))  # the size of the search may have changed
    return store


def read_store(folder: Path) -> Store:
    """The store of an earlier run. Raises InputError where there is none."""
    if not (folder / STORE).is_file():
        raise InputError(f"there is no '{STORE}' in this folder", place=str(folder), remedy="name the folder of a run")
    return Store.at(folder / STORE)
