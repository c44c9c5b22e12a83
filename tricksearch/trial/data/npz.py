"""Arrays in one .npz file: x_train and y_train with their likes, or the keys that MedMNIST uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tricksearch.contract import InputError
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data.dataset import Pixels, Progress, Source, part
from tricksearch.trial.data.official import own_root

Array = NDArray[Any]

_KEYS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}


def read(settings: DataSettings, progress: Progress) -> Source:
    """Read the file that `root` names. Nothing pickled in it is opened.

    Images: (N, H, W), (N, H, W, C) or (N, C, H, W), C being 1 or 3 (where both ends could be C, the last is);
    uint8, or floats in [0, 1]. Labels: integers from 0, (N,) or (N, 1). Classes: 0 to the largest label.
    """
    path = own_root(settings, "an .npz file")
    progress(f"reading {path}")
    arrays = _arrays(path)
    pairs = {}
    for name, choices in _KEYS.items():
        for images, labels in choices:
            if (images in arrays) != (labels in arrays):
                present, missing = (images, labels) if images in arrays else (labels, images)
                raise InputError(f"there is '{present}' but no '{missing}'", place=str(path), remedy=f"add '{missing}'")
            if images in arrays and name not in pairs:
                pairs[name] = (images, labels)
    if "train" not in pairs:
        raise InputError(
            f"there is no 'x_train' (nor 'train_images') but {', '.join(sorted(arrays)) or 'nothing'}",
            place=str(path),
            remedy="save it with numpy.savez(path, x_train=..., y_train=...)",
        )
    labels_of = {name: _labels(arrays[key], f"{path}: {key}") for name, (_, key) in pairs.items()}
    classes = 1 + max(int(labels.max(initial=-1)) for labels in labels_of.values())
    train_labels = labels_of["train"]
    if classes > max(len(train_labels), 1):
        raise InputError(
            f"labels out of range: {classes - 1}, more than {len(train_labels)} training images can hold",
            place=str(path),
            remedy="number the classes from 0 without gaps",
        )
    parts = {
        name: part(_pixels(arrays[key], f"{path}: {key}"), labels_of[name], f"{path}: {key}", classes)
        for name, (key, _) in pairs.items()
    }
    return Source(tuple(str(label) for label in range(classes)), "none", **parts)


def _arrays(path: Path) -> Mapping[str, Array]:
    if not path.is_file():
        raise InputError("there is no such file", place=str(path), remedy="name an .npz file in data.root")
    known = {key for choices in _KEYS.values() for pair in choices for key in pair}
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise ValueError("it holds one array, without a name")
            # Other arrays of the file are named, not read: they may be anything.
            return {key: file[key] if key in known else np.empty(0) for key in file.files}
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for a damaged file
        raise InputError(
            f"the file cannot be read as .npz: {error or type(error).__name__}",
            place=str(path),
            remedy="save it with numpy.savez(path, x_train=..., y_train=...), arrays of numbers only",
        ) from error


def _labels(labels: Array, source: str) -> NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(
            f"labels of shape {labels.shape}: each image needs exactly one",
            place=source,
            remedy="make one-hot labels numbers with labels.argmax(axis=1)",
        )
    if labels.dtype.kind not in "iu":
        raise InputError(
            f"labels of type {labels.dtype}, where whole numbers are needed",
            place=source,
            remedy="labels.astype('int64')",
        )
    if len(labels) and int(labels.min()) < 0:
        raise InputError(
            f"labels out of range: {labels.min()} is negative",
            place=source,
            remedy="number the classes from 0 without gaps",
        )
    if len(labels) and int(labels.max()) > np.iinfo(np.int32).max:
        raise InputError(
            f"labels out of range: {labels.max()}",
            place=source,
            remedy="number the classes from 0 without gaps",
        )
    return labels.astype(np.int64)


def _pixels(images: Array, source: str) -> Pixels:
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    elif images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InputError(
            f"images of shape {images.shape}, not (N, H, W), (N, H, W, C) or (N, C, H, W), C being 1 or 3",
            place=source,
        )
    if 0 in images.shape[1:]:
        raise InputError(f"images of shape {images.shape} hold no pixel", place=source)
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise InputError(
            f"pixels of type {images.dtype}, where uint8 or floats in [0, 1] are needed",
            place=source,
            remedy="images.astype('uint8') where they are 0 to 255",
        )
    if not np.isfinite(images).all():
        raise InputError("there are NaN or infinite pixels", place=source, remedy="mend or leave out these images")
    low, high = (float(extreme) for extreme in (images.min(initial=0), images.max(initial=0)))
    if low < 0 or high > 1:
        raise InputError(
            f"pixels from {low:g} to {high:g}, where floats must lie in [0, 1]",
            place=source,
            remedy="scale them, or give uint8 from 0 to 255",
        )
    return np.round(images * 255).astype(np.uint8)
