"""The cache: what a stage produced, under the key of exactly what could change it.

An entry is a folder, `<cache>/<stage>/<key>/`, with the stage's files and an `entry.json` that holds what was
measured and each file's checksum. It appears in one rename, and a damaged one is dropped when it is read.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tricksearch.contract import InputError
from tricksearch.trial.measuring.machine_lock import Machine

log = logging.getLogger(__name__)

STAGES = ("train", "compress", "deploy", "score", "latency", "baseline")
_ENTRY = "entry.json"
_IN_USE = ".in-use"
_NEW = ".new-"
ABANDONED = 3600.0  # seconds after which a folder that was being written belongs to a process that died


@dataclass(frozen=True)
class Entry:
    """What a stage left: `meta`, plain JSON, and files in `folder`, each with its SHA-256."""

    stage: str
    key: str
    folder: Path
    meta: Mapping[str, Any]
    files: Mapping[str, str]

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return self.folder / name


@dataclass(frozen=True)
class Usage:
    """The size of an entry in bytes, and when it was last used (seconds since 1970)."""

    stage: str
    key: str
    size: int
    used: float


class Cache:
    """A folder of entries that several processes and studies may share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self) -> None:
        """Raise InputError where nothing can be written there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=_NEW, dir=self.folder):
                pass
        except OSError as error:
            if error.errno == errno.ENOSPC:
                remedy = "free some space, or name a folder on another disk"
            else:
                remedy = "make it writable, or name another folder"
            raise InputError(
                f"the cache folder cannot be written: {error.strerror}", place=str(self.folder), remedy=remedy
            ) from error

    def get(self, stage: str, key: str) -> Entry | None:
        """The entry, its files proved by their checksums; None where there is none or it was damaged."""
        folder = self.folder / stage / key
        while True:
            try:
                before = _which(folder)
                meta, files = _proved(folder)
            except FileNotFoundError:
                now = _which(folder)
                if now is None:
                    return None
                if before != now:  # another process removed it, and one stored it anew
                    continue
                self._drop(folder, "a file is missing")
                return None
            except PermissionError as error:
                raise self._refused(error) from error
            except (ValueError, KeyError, TypeError) as error:
                self._drop(folder, str(error))
                return None
            with contextlib.suppress(OSError):  # a folder that may only be read can still be read
                os.utime(folder / _ENTRY)
            return Entry(stage, key, folder, meta, files)

    def put(self, stage: str, key: str, meta: Mapping[str, Any], files: Mapping[str, Path] | None = None) -> Entry:
        """Store an entry; one that another process stored meanwhile is kept in its place. Raises OSError."""
        target = self.folder / stage / key
        target.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=_NEW, dir=self.folder))
        try:
            checks = {}
            for name, source in (files or {}).items():
                shutil.copyfile(source, new / name)
                _sync(new / name)
                checks[name] = _file_digest(new / name)
            body = {"stage": stage, "key": key, "meta": dict(meta), "files": checks}
            new.chmod(0o755)  # mkdtemp leaves it to this user alone, and a cache may be shared
            (new / _ENTRY).write_text(json.dumps({"body": body, "check": _digest(_canonical(body))}))
            _sync(new / _ENTRY)
            try:
                new.rename(target)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return Entry(stage, key, target, json.loads(json.dumps(dict(meta))), checks)

    @contextlib.contextmanager
    def building(self, stage: str, key: str, machine: Machine) -> Iterator[None]:
        """One process at a time makes an entry; the others wait, and then find it."""
        locks = self.folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with self._lock(locks / f"{stage}-{key}.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                with machine.idle():  # a stopwatch need not wait for a trial that waits
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While it lasts, nothing can be pruned: a stage may hold the path of an entry."""
        with self._lock(self.folder / _IN_USE) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def usage(self) -> list[Usage]:
        """Every entry, the one used longest ago first."""
        usage = []
        for stage in STAGES:
            for folder in self._folders(stage):
                with contextlib.suppress(FileNotFoundError):
                    size = sum(file.stat().st_size for file in folder.iterdir())
                    usage.append(Usage(stage, folder.name, size, (folder / _ENTRY).stat().st_mtime))
        return sorted(usage, key=lambda entry: entry.used)

    def prune(self, keep_bytes: int) -> tuple[int, int]:
        """Drop the entries used longest ago until `keep_bytes` are left; returns how many went, and their bytes.

        Raises InputError while a trial uses the cache.
        """
        if not self.folder.is_dir():
            return 0, 0
        with self._lock(self.folder / _IN_USE) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                remedy = "wait until what runs there has ended"
                raise InputError("a trial is using this cache", place=str(self.folder), remedy=remedy) from None
            self._sweep()
            entries = self.usage()
            left, gone, freed = sum(entry.size for entry in entries), 0, 0
            for entry in entries:
                if left <= keep_bytes:
                    break
                self._remove(self.folder / entry.stage / entry.key)
                left, gone, freed = left - entry.size, gone + 1, freed + entry.size
            return gone, freed

    @contextlib.contextmanager
    def _lock(self, path: Path) -> Iterator[int]:
        try:
            lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except PermissionError as error:
            raise self._refused(error) from error
        try:
            yield lock
        finally:
            os.close(lock)

    def _refused(self, error: OSError) -> InputError:
        return InputError(
            f"the cache cannot be used: {error}",
            place=str(self.folder),
            remedy="make it readable and writable for everybody who shares it, or name another folder",
        )

    def _folders(self, stage: str) -> list[Path]:
        place = self.folder / stage
        return [path for path in place.iterdir() if path.is_dir()] if place.is_dir() else []

    def _drop(self, folder: Path, why: str) -> None:
        log.warning("the cache entry %s is damaged (%s): it is dropped and made again", folder, why)
        self._remove(folder)

    def _remove(self, folder: Path) -> None:
        # Out of the way in one step, so that nobody meets half an entry; without a new folder, for a disk may be full.
        gone = self.folder / f"{_NEW}{folder.name}-{os.getpid()}-{time.monotonic_ns()}"
        with contextlib.suppress(OSError):  # another process removed it, or the folder may only be read
            folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what processes that died left half written."""
        if self.folder.is_dir():
            for path in self.folder.glob(f"{_NEW}*"):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > ABANDONED:
                        shutil.rmtree(path, ignore_errors=True)


def _which(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another one that takes its place; None where there is none."""
    try:
        status = folder.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns


def _proved(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """The `meta` and the files of an entry. Raises OSError, and ValueError, KeyError or TypeError for what changed."""
    entry = json.loads((folder / _ENTRY).read_bytes())
    body, mark = entry["body"], entry["check"]
    if mark != _digest(_canonical(body)):
        raise ValueError("its entry.json was changed")
    for name, check in body["files"].items():
        if _file_digest(folder / name) != check:
            raise ValueError(f"its file {name} was changed")
    return body["meta"], body["files"]


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
