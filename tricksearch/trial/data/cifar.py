"""CIFAR-10 and CIFAR-100: the python version of www.cs.toronto.edu/~kriz/cifar.html."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tricksearch.contract import InputError
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data.dataset import Part, Progress, Source, part
from tricksearch.trial.data.official import Release, find
from tricksearch.trial.data.unpickle import read_pickle


@dataclass(frozen=True)
class _Layout:
    release: Release
    train: tuple[str, ...]
    test: str
    meta: str
    names_key: str
    labels_key: str


BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
CIFAR10 = _Layout(
    Release("CIFAR10", "cifar-10-batches-py", (*BATCHES, "test_batch", "batches.meta")),
    BATCHES,
    "test_batch",
    "batches.meta",
    "label_names",
    "labels",
)
CIFAR100 = _Layout(
    Release("CIFAR100", "cifar-100-python", ("train", "test", "meta")),
    ("train",),
    "test",
    "meta",
    "fine_label_names",
    "fine_labels",
)


def read_cifar10(settings: DataSettings, progress: Progress) -> Source:
    """CIFAR-10 from ROOT/cifar-10-batches-py, or from the files in ROOT."""
    return _read(settings, progress, CIFAR10)


def read_cifar100(settings: DataSettings, progress: Progress) -> Source:
    """CIFAR-100 with its 100 fine labels from ROOT/cifar-100-python, or from the files in ROOT."""
    return _read(settings, progress, CIFAR100)


def _read(settings: DataSettings, progress: Progress, layout: _Layout) -> Source:
    folder = find(settings, progress, layout.release)
    progress(f"reading {folder}")
    meta = folder / layout.meta
    names = _field(meta, read_pickle(meta), layout.names_key)
    if not isinstance(names, list) or not all(isinstance(name, str | bytes) for name in names):
        raise InputError(f"'{layout.names_key}' is not a list of names", place=str(meta), remedy="fetch it again")
    classes = tuple(name.decode("ascii", "replace") if isinstance(name, bytes) else name for name in names)
    train = _part([folder / file_name for file_name in layout.train], layout.labels_key, len(classes))
    test = _part([folder / layout.test], layout.labels_key, len(classes))
    files = tuple(folder / name for name in (layout.meta, *layout.train, layout.test))
    return Source(classes, "flip_crop", train, test=test, files=files)


def _part(paths: list[Path], labels_key: str, classes: int) -> Part:
    pixels, labels = [], []
    for path in paths:
        content = read_pickle(path)
        rows, marks = _field(path, content, "data"), _field(path, content, labels_key)
        if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 3072:
            raise InputError(
                "'data' is not an array of bytes with 3 x 32 x 32 columns",
                place=str(path),
                remedy="fetch it again",
            )
        if not isinstance(marks, list) or not all(type(mark) is int and abs(mark) < 1 << 31 for mark in marks):
            raise InputError(f"'{labels_key}' is not a list of integers", place=str(path), remedy="fetch it again")
        one = part(rows.reshape(-1, 3, 32, 32), marks, str(path), classes)
        pixels.append(one.pixels)
        labels.append(one.labels)
    return Part(np.concatenate(pixels), np.concatenate(labels), str(paths[0]))


def _field(path: Path, content: Any, key: str) -> Any:
    if not isinstance(content, dict) or not {key, key.encode()} & content.keys():
        raise InputError(f"the file holds no '{key}'", place=str(path), remedy="fetch it again")
    return content[key if key in content else key.encode()]
