"""The server: on the driver's machine, the one place where nodes get what they lack and bring what they made.

Nodes share no file system. Entries of caches cross in chunks, as bytes beside plain JSON, and are checked on
arrival: the names against anything that is no plain file name, the contents against their SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tricksearch.contract import InputError
from tricksearch.trial.cache import STAGES, Cache, Entry

CHUNK = 4 * 2**20  # bytes that cross at a time: an object store may be small
DATA = "data"
_KEY = re.compile(r"[0-9a-f]{16,64}")
_NAME = re.compile(r"[^/\\\0.][^/\\\0]{0,99}")  # no separator, and nothing that starts with a dot
RESERVED = "entry.json"  # which the cache writes itself


class Refused(ValueError):
    """What arrived breaks a rule and was not kept."""


def check_names(stage: str, key: str, names: Iterable[str], stages: Iterable[str] = (*STAGES, DATA)) -> None:
    """Raise Refused for a stage, a key or a file name that could lead out of the entry's folder."""
    if stage not in stages or not _KEY.fullmatch(key):
        raise Refused(f"'{stage}/{key}' is no entry of a cache")
    for name in names:
        if not _NAME.fullmatch(name) or name == RESERVED:
            raise Refused(f"'{name}' is no name of a file of an entry")


def manifest(entry: Entry) -> str:
    """What an entry is, as JSON: its `meta`, and its files with their SHA-256."""
    return json.dumps({"meta": dict(entry.meta), "files": dict(entry.files)})


def take_in(cache: Cache, stage: str, key: str, manifest: Mapping[str, Any], folder: Path) -> None:
    """Put files that have arrived in `folder` into a cache, in one step. Raises Refused for a wrong checksum."""
    files = {name: folder / name for name in manifest["files"]}
    for name, path in files.items():
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != manifest["files"][name]:
                raise Refused(f"'{name}' of {stage}/{key} was damaged on its way")
    cache.put(stage, key, manifest["meta"], files)


class CacheServer:
    """Serves the driver's cache and data to nodes. Stateless but for files, so that it can be started again.

    `cache` is the study's cache, `directory` the folder where the study was started, `settings` the JSON of its
    DataSettings, `digest` that of its data as the driver read them, `packed` where packed data are kept.
    Each method can be called again with the same arguments, and from several threads.
    """

    def __init__(self, cache: str, directory: str, settings: str, digest: str, packed: str) -> None:
        self._cache, self._packed = Cache(Path(cache)), Cache(Path(packed))
        self._directory, self._settings, self._digest = directory, settings, digest
        self._reading = threading.Lock()

    def problem(self) -> str:
        """Why this process cannot serve, or nothing."""
        try:
            self._cache.check()
        except InputError as error:
            return str(error)
        return ""

    def offer(self, stage: str, key: str) -> str:
        """The manifest of an entry, or nothing. Data are read and packed when they are first asked for."""
        check_names(stage, key, ())
        if stage == DATA:
            return manifest(self._data(key))
        entry = self._cache.get(stage, key)
        return manifest(entry) if entry else ""

    def read(self, stage: str, key: str, name: str, start: int) -> bytes:
        """At most CHUNK bytes of a file of an entry, from `start`. Raises OSError where it is not there any more."""
        check_names(stage, key, [name])
        cache = self._packed if stage == DATA else self._cache
        with (cache.folder / stage / key / name).open("rb") as file:
            file.seek(start)
            return file.read(CHUNK)

    def write(self, upload: str, name: str, start: int, chunk: bytes) -> str:
        """Take bytes of a file of an entry that arrives under the name `upload`; returns what went wrong, or ''."""
        check_names(STAGES[0], upload, [name])
        folder = self._arriving(upload)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                while chunk:
                    written = os.pwrite(file, chunk, start)
                    chunk, start = chunk[written:], start + written
            finally:
                os.close(file)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            return str(error)
        return ""

    def finish(self, upload: str, stage: str, key: str, manifest: str) -> str:
        """Put what has arrived into the study's cache, in one step; returns what went wrong, or ''."""
        entry = json.loads(manifest)
        check_names(stage, key, entry["files"], STAGES)
        check_names(stage, upload, ())
        folder = self._arriving(upload)
        try:
            if self._cache.get(stage, key) is None:  # else a repeated call, or another node was first
                take_in(self._cache, stage, key, entry, folder)
        except (OSError, Refused) as error:
            return str(error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return ""

    def lacks(self, stage: str, key: str) -> bool:
        """Whether the study's cache has no such entry."""
        check_names(stage, key, (), STAGES)
        return not (self._cache.folder / stage / key / RESERVED).is_file()

    def _arriving(self, upload: str) -> Path:
        # The prefix marks what is half written: emptying the cache removes what a dead process left.
        return self._cache.folder / f".new-{upload}"

    def _data(self, digest: str) -> Entry:
        from tricksearch.records.settings import DataSettings
        from tricksearch.trial.data import load_data
        from tricksearch.trial.data.packed import digest_of, put_data

        if digest != self._digest:
            raise Refused("these are not the study's data")
        with self._reading:
            known = self._packed.get(DATA, digest)
            if known is not None:
                return known
            os.chdir(self._directory)  # a relative data.root starts there
            data = load_data(DataSettings.model_validate_json(self._settings))
            if digest_of(data) != digest:
                raise Refused("the data have changed since the study was started")
            return put_data(self._packed, data)


def node_folder() -> Path:
    """Where this machine keeps what came to it: $TRICKSEARCH_NODE_CACHE, or a private folder for temporary files.

    Raises InputError where it is another user's or cannot be made.
    """
    given = os.environ.get("TRICKSEARCH_NODE_CACHE")
    folder = Path(given) if given else Path(tempfile.gettempdir()) / f"tricksearch-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.lstat().st_uid
    except OSError as error:
        raise InputError(
            f"the node's cache cannot be made: {error.strerror}",
            place=str(folder),
            remedy="set TRICKSEARCH_NODE_CACHE where Ray is started on the node",
        ) from error
    if not given and (owner != os.getuid() or folder.is_symlink()):
        raise InputError(
            "the node's cache belongs to another user",
            place=str(folder),
            remedy="remove it, or set TRICKSEARCH_NODE_CACHE where Ray is started on the node",
        )
    return folder
