"""A trial on a node that shares no file system with the driver: what it lacks comes, and what it makes goes home."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tricksearch.contract import InputError
from tricksearch.records.record import Record
from tricksearch.records.settings import DataSettings
from tricksearch.search.cluster.bundle import plugin_folders
from tricksearch.search.cluster.cache_server import CHUNK, DATA, check_names, manifest, node_folder, take_in
from tricksearch.trial.cache import Cache, Entry
from tricksearch.trial.job import Job
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.run import run_job, run_trial
from tricksearch.trial.rungs import Report

log = logging.getLogger(__name__)

Ask = Callable[..., Any]  # the name of a method of the server and its arguments -> what it returns


class NodeCache(Cache):
    """A cache of this node that asks the server for what it lacks, and brings it what is made or used here."""

    def __init__(self, folder: Path, ask: Ask) -> None:
        super().__init__(folder)
        self._ask = ask
        self._on_server: set[tuple[str, str]] = set()  # entries that the server is known to have
        self._unsent: set[tuple[str, str]] = set()

    def get(self, stage: str, key: str) -> Entry | None:
        """The entry, from here or from the server."""
        entry = super().get(stage, key)
        if entry is not None:
            self._unsent.add((stage, key))  # made for another study perhaps
            return entry
        try:
            fetched = fetch(Cache(self.folder), stage, key, self._ask)
        except Exception as error:  # it is only asked for help: the stage can be run here
            log.warning("the server could not give %s/%s: %s", stage, key, error)
            return None
        if not fetched:
            return None
        self._on_server.add((stage, key))
        return super().get(stage, key)

    def put(self, stage: str, key: str, meta: Mapping[str, Any], files: Mapping[str, Path] | None = None) -> Entry:
        """Store an entry here, and bring it home at once: should this node be lost, another can go on from there."""
        entry = super().put(stage, key, meta, files)
        self._unsent.add((stage, key))
        with contextlib.suppress(Exception):  # `bring_home` tries again, and says what is wrong
            self._send(stage, key)
        return entry

    def bring_home(self) -> None:
        """Send what is not at home yet. Raises InputError where it cannot be kept there, and Ray's errors."""
        for stage, key in sorted(self._unsent):
            self._send(stage, key)

    def _send(self, stage: str, key: str) -> None:
        if (stage, key) not in self._on_server and self._ask("lacks", stage, key):
            entry = super().get(stage, key)
            if entry is not None:
                send(entry, self._ask)
        self._on_server.add((stage, key))
        self._unsent.discard((stage, key))


def fetch(cache: Cache, stage: str, key: str, ask: Ask) -> bool:
    """Get an entry from the server into a cache; False where it has none. Raises Refused for what is damaged."""
    offer = ask("offer", stage, key)
    if not offer:
        return False
    entry = json.loads(offer)
    check_names(stage, key, entry["files"])
    cache.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=cache.folder) as folder:
        for name in entry["files"]:
            with (Path(folder) / name).open("wb") as file:
                while chunk := ask("read", stage, key, name, file.tell()):
                    file.write(chunk)
        take_in(cache, stage, key, entry, Path(folder))
    return True


def send(entry: Entry, ask: Ask) -> None:
    """Bring an entry to the server. Raises InputError where it cannot be kept there."""
    upload = uuid.uuid4().hex
    problem = ""
    for name in entry.files:
        with entry.file(name).open("rb") as file:
            start = 0
            while not problem and (chunk := file.read(CHUNK)):
                problem = ask("write", upload, name, start, chunk)
                start += len(chunk)
            if not start and not problem:
                problem = ask("write", upload, name, 0, b"")  # an empty file
    problem = problem or ask("finish", upload, entry.stage, entry.key, manifest(entry))
    if problem:
        raise InputError(
            f"what a node made cannot be kept on the driver's machine: {problem}",
            remedy="free some space or make the study's cache writable, and run the same command again",
        )


class ClusterNode:
    """This node, for one study."""

    def __init__(self, ask: Ask, digest: str, folder: Path) -> None:
        self._ask, self._digest = ask, digest
        self._packed = Cache(folder / "data")
        self.cache = NodeCache(folder / "cache", ask)

    def run(self, job: Job, report: Report) -> list[Record]:
        """Run a trial. Its records tell of the study's own folders, not of where they lie on this node.

        Raises InputError where data or plugins cannot be had, or results cannot be kept on the driver's machine.
        """
        folders = job.recipe["plugins"]

        def as_on_driver(record: Record) -> Record:
            return replace(record, recipe=record.recipe | {"plugins": folders})

        self._find_data(DataSettings.model_validate(job.recipe["data"]))
        here = replace(job, recipe=job.recipe | {"plugins": plugin_folders(len(folders))})
        records = run_trial(
            here, self.cache, lambda progress: report(replace(progress, record=as_on_driver(progress.record)))
        )
        machine = Machine()
        try:
            with machine.shared():  # not while a stopwatch runs
                self.cache.bring_home()
        finally:
            machine.close()
        return [as_on_driver(record) for record in records]

    @functools.cache  # noqa: B019  # one site lives as long as its process
    def _find_data(self, settings: DataSettings) -> None:
        from tricksearch.trial.data.loaded import keep_data
        from tricksearch.trial.data.packed import digest_of, read_data

        data = own_data(settings)
        if data is None or digest_of(data) != self._digest:
            machine = Machine()
            try:
                with self._packed.building(DATA, self._digest, machine):
                    entry = self._packed.get(DATA, self._digest)
                    if entry is None:
                        fetch(self._packed, DATA, self._digest, self._ask)
                        entry = self._packed.get(DATA, self._digest)
            finally:
                machine.close()
            if entry is None:
                raise InputError("the study's data did not arrive on a node", place=str(self._packed.folder))
            data = read_data(entry)
        keep_data(settings, data)


def own_data(settings: DataSettings) -> Any:
    """The study's data set as this node has it, or None.

    A relative `data.root` names a folder of the driver's machine; nothing is downloaded, for the driver has it.
    """
    from tricksearch.trial.data import load_data

    if settings.root is not None and not Path(settings.root).expanduser().is_absolute():
        return None
    try:
        return load_data(settings.model_copy(update={"download": False}))
    except InputError:
        return None


@functools.cache
def site(server: str) -> ClusterNode | None:
    """This node, or None on the driver's own machine, where trials find everything in its place.

    `server` is "name of the actor:digest of the study's data". Raises InputError where nothing can be kept here.
    """
    import ray

    name, _, digest = server.partition(":")
    actor = ray.get_actor(name)
    if ray.get_runtime_context().get_node_id() == ray.get(actor.home.remote()):
        return None

    def ask(method: str, *arguments: Any) -> Any:
        return ray.get(getattr(actor, method).remote(*arguments))

    return ClusterNode(ask, digest, node_folder())


def run_on_node(job: Job, server: str, report: Report) -> list[Record]:
    """Run a trial for the study of this server; `report` is called at its rungs."""
    here = site(server)
    return run_job(job, report) if here is None else here.run(job, report)
