"""What the driver needs before it can use a cluster's nodes: its bundle of sources, the cache server, the token."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tricksearch.contract import InputError
from tricksearch.contract.discovery import BUILT_IN
from tricksearch.search.cluster.cache_server import CacheServer, node_folder
from tricksearch.search.loop import Loop

PLUGINS = "study_plugins"
CACHE_SERVER = (
    "TRICKSEARCH_CACHE_SERVER"  # tells a worker that it may be away from the driver's machine, and whom to ask
)
LIMIT = 100 * 2**20  # bytes; Ray's own limit is 500 MiB, in the memory of the head node
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # one time for all files: the same contents are the same package


def pack(plugins: Sequence[str], target: Path) -> Path:
    """Write the zip file that travels. Raises InputError for folders of plugins too large to be meant."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in _contents(plugins):
            info = zipfile.ZipInfo(name, _EARLIEST)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(info, content)
    return target


def plugin_folders(count: int) -> list[str]:
    """On a node: where the study's folders of plugins are, in their order."""
    root = Path(__file__).resolve().parents[3]  # where the package itself is
    return [str(root / PLUGINS / str(index)) for index in range(count)]


def _contents(plugins: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for package in (__package__.partition(".")[0], BUILT_IN):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ImportError(f"the package {package} is not where it was imported from")
        for name, path in _files(Path(spec.submodule_search_locations[0])):
            yield f"{package}/{name}", path.read_bytes()
    # Its version and requirements stand in records.
    about = importlib.metadata.distribution(__package__.partition(".")[0])
    metadata = about.read_text("METADATA") or about.read_text("PKG-INFO") or ""  # the latter beside sources
    yield f"{about.metadata['Name']}-{about.version}.dist-info/METADATA", metadata.encode()
    for index, folder in enumerate(plugins):
        size = 0
        for name, path in _files(Path(folder)):
            size += path.stat().st_size
            if size > LIMIT:
                raise InputError(
                    f"the folder holds more than {LIMIT / 2**20:.0f} MiB, and it travels to each node of the cluster",
                    place=folder,
                    remedy="keep tricks in a folder of their own",
                )
            yield f"{PLUGINS}/{index}/{name}", path.read_bytes()


def _files(root: Path) -> Iterable[tuple[str, Path]]:
    """Every file below a folder by its name there, sorted; caches, hidden files and links to folders are left out."""
    for place, folders, names in os.walk(root):
        folders[:] = sorted(folder for folder in folders if folder != "__pycache__" and not folder.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            if path.is_file() and not name.startswith(".") and path.suffix != ".pyc":
                yield path.relative_to(root).as_posix(), path


def runtime_env(package: Path, server: str) -> dict[str, Any]:
    """What Ray sets up for each worker of this run."""
    return {"working_dir": str(package), "env_vars": {CACHE_SERVER: server}}


class CacheServerActor(CacheServer):
    """The server as an actor of Ray."""

    def home(self) -> str:
        """Ray's name of the node that it runs on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())


class ClusterBundle:
    """What travels to the nodes with a run: packed before Ray is joined, served when it is.

    Raises InputError for plugins that cannot travel.
    """

    def __init__(self, loop: Loop, scratch: Path) -> None:
        from tricksearch.trial.data.loaded import cached_data
        from tricksearch.trial.data.packed import digest_of

        self._loop = loop
        self._name = f"tricksearch-cache-server-{uuid.uuid4().hex}"
        self._digest = digest_of(cached_data(loop.study.data))
        package = pack(loop.study.plugins, scratch / "bundle.zip")
        self.runtime_env = runtime_env(package, f"{self._name}:{self._digest}")
        self._actor: Any = None  # Ray ends an actor that nobody holds

    def open(self) -> None:
        """Start the server on this machine. Raises InputError where it cannot use the study's cache."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {
            "name": self._name,
            "num_cpus": 0,
            "max_concurrency": 8,
            "max_restarts": -1,  # it keeps nothing that is not in files
            "max_task_retries": -1,
            "scheduling_strategy": here,
        }
        study = self._loop.study
        self._actor = (
            ray.remote(CacheServerActor)
            .options(**options)
            .remote(
                str(self._loop.cache),
                str(Path.cwd()),
                study.data.model_dump_json(),
                self._digest,
                str(node_folder() / "data"),
            )
        )
        problem = ray.get(self._actor.problem.remote())
        if problem:
            raise InputError(
                f"Ray's processes on this machine cannot use the study's cache: {problem}",
                remedy="start Ray here as the user who runs this command",
            )


def use_token() -> None:
    """Present Ray's token where there is one. To be called before Ray is imported.

    `ray start --head` demands a token wherever one is found, while a driver that names the cluster's address is
    left to know that; to a cluster that demands none, a token does no harm.
    """
    if "RAY_AUTH_MODE" in os.environ:
        return
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if named or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ["RAY_AUTH_MODE"] = "token"
