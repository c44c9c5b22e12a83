"""The cache that a folder stands for: a run's, or one that studies share."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tricksearch.contract import InputError
from tricksearch.store.folder import has_store
from tricksearch.store.run import StoredRun
from tricksearch.trial.cache import Cache


def cache_of(folder: Path) -> Cache:
    """The cache in a folder, or the one that the run in it uses. Raises InputError where there is neither."""
    if has_store(folder):
        with StoredRun.open(folder) as run:
            return Cache(run.cache_folder)
    cache = Cache(folder)
    try:
        known = bool(cache.usage()) or (folder / "locks").is_dir() or not any(folder.iterdir())
    except OSError as error:
        raise InputError(f"the folder cannot be read: {error.strerror}", place=str(folder)) from None
    if not known:
        raise InputError(
            "this is neither a cache nor the folder of a run", place=str(folder), remedy="name one of the two"
        )
    return cache


def prune(folder: Path, keep_bytes: int) -> tuple[int, int]:
    """Drop the entries used longest ago until `keep_bytes` are left; returns how many went, and their bytes.

    Raises InputError where a run is using the folder, or where nothing can be written in the cache.
    """
    cache = cache_of(folder)
    with _unused(folder):
        try:
            return cache.prune(keep_bytes)
        except OSError as error:
            raise InputError(
                f"the cache cannot be pruned: {error.strerror}", place=str(cache.folder), remedy="make it writable"
            ) from error


@contextlib.contextmanager
def _unused(folder: Path) -> Iterator[None]:
    """Keep runs away from a run folder: what is dropped under a trial is the trial's failure."""
    try:
        lock = os.open(folder / ".lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # no run was ever here
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise InputError("a run is using this folder", place=str(folder), remedy="wait until it has ended") from None
    try:
        yield
    finally:
        os.close(lock)
