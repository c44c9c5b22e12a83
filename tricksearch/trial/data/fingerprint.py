"""What a data set is known by: a hash of all its pixels and labels, and its files, to say which of them changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tricksearch.trial.data.dataset import DataSet, count
from tricksearch.trial.data.packed import digest_of

MOST_NAMED = 3  # files that a sentence names


def fingerprint(data: DataSet, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The fingerprint of a data set, as JSON: `digest`, `images` of each split, and `files` with size, time and hash.

    A file is read only where `known`, an earlier fingerprint, does not have it with this size and time (ns). Raises
    OSError where a file is not there any more.
    """
    before = known["files"] if known else {}
    files = {}
    for name, path in _named(data.files).items():
        about = path.stat()
        size, time = about.st_size, about.st_mtime_ns
        same = name in before and before[name][:2] == [size, time]
        files[name] = [size, time, before[name][2] if same else _hash(path)]
    images = {split: len(getattr(data, split)) for split in ("train", "validation", "test")}
    return {"digest": digest_of(data), "images": images, "files": files}


def difference(before: Mapping[str, Any], data: DataSet) -> str | None:
    """What differs between the data set of an earlier fingerprint and this one, in words; None where nothing does.

    Files may have been copied, or have other names: what counts is what was read from them.
    """
    if before["digest"] == digest_of(data):
        return None
    now = fingerprint(data, before)
    old, new = before["files"], now["files"]
    kinds = {
        "new": sorted(set(new) - set(old)),
        "gone": sorted(set(old) - set(new)),
        "changed": sorted(name for name in set(old) & set(new) if old[name][2] != new[name][2]),
    }
    parts = [f"{count(len(names), 'file')} {kind} ({_some(names)})" for kind, names in kinds.items() if names]
    sizes = [
        f"{now['images'][split]} {split} images in place of {number}"
        for split, number in before["images"].items()
        if now["images"][split] != number
    ]
    unchanged = (
        "its files are what they were, and this version of tricksearch, of Pillow or NumPy, or this kind of processor "
        "reads or resizes them otherwise"
    )
    return "; ".join([*parts, *sizes]) or unchanged


def _named(files: Sequence[Path]) -> dict[str, Path]:
    """Each file under its path below the folder that holds them all: the folder itself may move."""
    absolute = [path.absolute() for path in files]
    common = os.path.commonpath([path.parent for path in absolute]) if absolute else ""
    return {path.relative_to(common).as_posix(): path for path in absolute}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
