"""A data set as an entry of a cache: how it travels to a machine that does not have its files."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np

from tricksearch.contract import Images
from tricksearch.trial.cache import Cache, Entry
from tricksearch.trial.data.dataset import DataSet

STAGE = "data"
_SPLITS = ("train", "validation", "test")


def digest_of(data: DataSet) -> str:
    """A hash of all that a data set is: 32 hexadecimal digits, the same wherever and however it was read."""
    parts = [data.name, data.classes, data.augment, *(data.digest(split) for split in _SPLITS)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def put_data(cache: Cache, data: DataSet) -> Entry:
    """Store a data set under its digest: an .npy file of pixels and one of labels for each split. Raises OSError."""
    cache.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=cache.folder) as folder:
        files = {}
        for split in _SPLITS:
            images: Images = getattr(data, split)
            for part, values in (("pixels", images.pixels), ("labels", images.labels)):
                name = f"{split}.{part}.npy"
                files[name] = Path(folder) / name
                np.save(files[name], values.numpy(), allow_pickle=False)
        meta = {"name": data.name, "classes": list(data.classes), "augment": data.augment}
        return cache.put(STAGE, digest_of(data), meta, files)


def read_data(entry: Entry) -> DataSet:
    """The data set of an entry. Its pages are mapped, so that the processes of one machine share them."""
    import torch

    classes = tuple(entry.meta["classes"])

    def part(split: str, name: str) -> torch.Tensor:
        # "c": what a process writes stays its own; torch wants memory that it may write to.
        values = np.load(entry.file(f"{split}.{name}.npy"), mmap_mode="c", allow_pickle=False)
        return torch.from_numpy(values)

    train, validation, test = (Images(part(split, "pixels"), part(split, "labels"), len(classes)) for split in _SPLITS)
    return DataSet(entry.meta["name"], classes, train, validation, test, entry.meta["augment"])
