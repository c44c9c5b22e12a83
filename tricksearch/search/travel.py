"""What travels to the nodes of a cluster before any trial: this package, the built-in tricks, the study's plugins.

Ray unpacks it on each node into a private folder that comes first among the places to import from, so that every
node runs the driver's sources, whatever is installed there: stage keys are hashes of them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tricksearch.contract import InputError
from tricksearch.contract.discovery import BUILT_IN

PLUGINS = "study_plugins"
DEPOT = "TRICKSEARCH_DEPOT"  # tells a worker that it may be away from the driver's machine, and whom to ask
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
    root = Path(__file__).resolve().parent.parent.parent
    return [str(root / PLUGINS / str(index)) for index in range(count)]


def _contents(plugins: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for package in (__package__.partition(".")[0], BUILT_IN):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ImportError(f"the package {package} is not where it was imported from")
        for name, path in _files(Path(spec.submodule_search_locations[0])):
            yield f"{package}/{name}", path.read_bytes()
    # Its version and requirements stand in records and keys.
    about = importlib.metadata.distribution(__package__.partition(".")[0])
    told = about.read_text("METADATA") or about.read_text("PKG-INFO") or ""  # the latter beside sources
    yield f"{about.metadata['Name']}-{about.version}.dist-info/METADATA", told.encode()
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
        folders[:] = sorted(each for each in folders if each != "__pycache__" and not each.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            if path.is_file() and not name.startswith(".") and path.suffix != ".pyc":
                yield path.relative_to(root).as_posix(), path


def runtime_env(package: Path, depot: str) -> dict[str, Any]:
    """What Ray sets up for each worker of this run."""
    return {"working_dir": str(package), "env_vars": {DEPOT: depot}}
