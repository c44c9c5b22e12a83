"""Where the files of an official data set lie, and how they are fetched when they are not there."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from tricksearch.contract import InputError
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data.dataset import Progress

ROOT_VARIABLE = "TRICKSEARCH_DATA"
NETWORK_TIMEOUT = 15.0  # seconds


@dataclass(frozen=True)
class Release:
    """An official layout: its class in torchvision.datasets, its folder below the root, its files."""

    torchvision: str
    folder: str
    files: tuple[str, ...]
    suffixes: tuple[str, ...] = ("",)  # each file may carry any of these

    def path(self, folder: Path, file: str) -> Path | None:
        """One of the release's files in a folder, None where it is not there."""
        paths = (folder / f"{file}{suffix}" for suffix in self.suffixes)
        return next((path for path in paths if path.is_file()), None)

    def missing(self, folder: Path) -> list[str]:
        """The files that a folder lacks."""
        return [f"{file}{self.suffixes[-1]}" for file in self.files if self.path(folder, file) is None]

    def places(self, root: Path) -> list[Path]:
        """Where the files may be: below the root, or the root itself."""
        parts = Path(self.folder).parts
        return [root.joinpath(*parts[start:]) for start in range(len(parts) + 1)]


def own_root(settings: DataSettings, kind: str) -> Path:
    """The root of a data set of the user's own, which has no default."""
    if settings.root is None:
        raise InputError(f"'{settings.name}' needs {kind}", place="data.root", remedy="name it in 'root'")
    return Path(settings.root).expanduser()


def find(settings: DataSettings, progress: Progress, release: Release) -> Path:
    """The folder that holds a release's files, fetched first where they are absent and may be downloaded.

    The root is `settings.root`, else the environment variable TRICKSEARCH_DATA, else the folder "data".
    Raises InputError that says which files go where.
    """
    root = Path(settings.root or os.environ.get(ROOT_VARIABLE) or "data").expanduser()
    lacking = {place: release.missing(place) for place in release.places(root)}
    place = min(lacking, key=lambda folder: len(lacking[folder]))
    if not lacking[place]:
        return place
    remedy = f"put {', '.join(lacking[place])} into {place}, or name the folder that holds them in data.root"
    what = f"{len(lacking[place])} of the {len(release.files)} files of '{settings.name}' are not there"
    if not settings.download:
        raise InputError(f"{what} and data.download is false", place=str(place), remedy=remedy)
    progress(f"fetching {settings.name} into {root}")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)  # a network that swallows packets would hold the run for minutes
    try:
        from torchvision import datasets

        root.mkdir(parents=True, exist_ok=True)
        getattr(datasets, release.torchvision)(root, download=True)  # checks md5, shows a progress bar
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{what} and cannot be fetched ({type(error).__name__}: {reason})",
            place=str(place),
            remedy=remedy,
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return root / release.folder
