"""Arrays in one .npz file: x_train and y_train with their likes, or the keys that MedMNIST uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tricksearch.contract import InputError
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data.customary import NAMES, by_role, split_named
from tricksearch.trial.data.dataset import Pixels, Progress, Source, count, part
from tricksearch.trial.data.official import own_root

Array = NDArray[Any]

_IMAGES, _LABELS = ("x", "images"), ("y", "labels")


def read(settings: DataSettings, progress: Progress) -> Source:
    """Read the file that `root` names. Nothing pickled in it is opened.

    Keys are x_train and y_train or train_images and train_labels, and their likes for the other splits, whose names are
    those that are customary, in capitals or not. Other arrays are named in the notes.
    Images: (N, H, W), (N, H, W, C) or (N, C, H, W), C being 1 or 3 (where both ends could be C, the last is);
    uint8, or floats in [0, 1]. Labels: integers from 0, (N,) or (N, 1). Classes: 0 to the largest label.
    """
    path = own_root(settings, "an .npz file")
    progress(f"reading {path}")
    arrays = _arrays(path)
    pairs = _pairs(arrays, path)
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
    unread = sorted(set(arrays) - {key for pair in pairs.values() for key in pair})
    notes = (f"not read: {count(len(unread), 'array')} ({', '.join(unread)})",) if unread else ()
    return Source(tuple(str(label) for label in range(classes)), "none", **parts, notes=notes, files=(path,))


def _role(key: str) -> tuple[str, str] | None:
    """The split and 'x' or 'y' that a key stands for: "x_val" and "val_images" are images for validation."""
    first, _, last = key.casefold().partition("_")
    for part_name, split_name in ((first, last), (last, first)):
        split = split_named(split_name)
        if split is not None and part_name in (*_IMAGES, *_LABELS):
            return split, "x" if part_name in _IMAGES else "y"
    return None


def _pairs(arrays: Mapping[str, Array], path: Path) -> dict[str, tuple[str, str]]:
    """Each split with the keys of its images and its labels. Raises InputError for two of a kind, or one alone."""

    def clash(role: tuple[str, str], first: str, second: str) -> InputError:
        split, part_name = role
        return InputError(
            f"'{first}' and '{second}' both claim to be the {'images' if part_name == 'x' else 'labels'} of the "
            f"{split} split",
            place=str(path),
            remedy="save the file with one of them",
        )

    keys = by_role(arrays, _role, clash)
    pairs = {}
    for split in NAMES:
        images, labels = keys.get((split, "x")), keys.get((split, "y"))
        if (images is None) != (labels is None):
            present = images or labels or ""
            missing = _partner(present)
            raise InputError(f"there is '{present}' but no '{missing}'", place=str(path), remedy=f"add '{missing}'")
        if images is not None and labels is not None:
            pairs[split] = (images, labels)
    if "train" not in pairs:
        raise InputError(
            f"there is no 'x_train' (nor 'train_images') but {', '.join(sorted(arrays)) or 'nothing'}",
            place=str(path),
            remedy="save it with numpy.savez(path, x_train=..., y_train=...)",
        )
    return pairs


def _partner(key: str) -> str:
    """The key of the labels that belong to images, or of the images that belong to labels."""
    others = dict(zip((*_IMAGES, *_LABELS), (*_LABELS, *_IMAGES), strict=True))
    first, _, last = key.partition("_")
    if first.casefold() in others:
        other = others[first.casefold()]
        return f"{other.upper() if first.isupper() else other}_{last}"
    return f"{first}_{others[last.casefold()]}"


def _arrays(path: Path) -> Mapping[str, Array]:
    if not path.is_file():
        raise InputError("there is no such file", place=str(path), remedy="name an .npz file in data.root")
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise ValueError("it holds one array, without a name")
            # Other arrays of the file are named, not read: they may be anything.
            return {key: file[key] if _role(key) else np.empty(0) for key in file.files}
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
            f"labels of shape {labels.shape}: each image needs exactly one{_several(labels)}",
            place=source,
            remedy=_one_label(labels),
        )
    if labels.dtype.kind not in "iu":
        raise InputError(
            f"labels of type {labels.dtype}, where whole numbers are needed",
            place=source,
            remedy=_whole(labels),
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


def _whole(labels: Array) -> str:
    """How to come to whole numbers."""
    if labels.dtype.kind in "SU":
        return "number the names with numpy.unique(labels, return_inverse=True)[1]"
    if labels.dtype.kind == "b" or (labels.dtype.kind == "f" and (labels == np.round(labels)).all()):
        return "labels.astype('int64')"
    return "give the number of its class to each image, from 0"


def _several(labels: Array) -> str:
    """What rows of labels that are not one-hot say, where they are of zeros and ones."""
    if labels.ndim != 2 or labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
        return ""
    ones = labels.sum(axis=1)
    several, none = int((ones > 1).sum()), int((ones < 1).sum())
    return f"; {count(several, 'row')} with several ones, {none} with none" if several or none else ""


def _one_label(labels: Array) -> str:
    """How to come to one label for each image."""
    one_hot = labels.ndim == 2 and labels.dtype.kind in "biuf" and np.isin(labels, (0, 1)).all()
    if one_hot and (labels.sum(axis=1) == 1).all():
        return "make one-hot labels numbers with labels.argmax(axis=1)"
    if one_hot:
        return (
            "an image of several classes, or of none, cannot be learned as one class: ask about one of them in a "
            "study, with labels[:, k].astype('int64') for class k"
        )
    return "give whole numbers from 0 of the shape (N,)"


def _pixels(images: Array, source: str) -> Pixels:
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    elif images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InputError(
            f"images of shape {images.shape}, not (N, H, W), (N, H, W, C) or (N, C, H, W), C being 1 or 3",
            place=source,
            remedy="give each image its height and width, and one channel or three",
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
