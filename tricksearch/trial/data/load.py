"""From settings to three splits in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tricksearch.contract import Images, InputError, nearest
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data import cifar, embedded, folder, idx, npz
from tricksearch.trial.data.dataset import DataSet, Part, Progress, Source
from tricksearch.trial.data.resize import resized
from tricksearch.trial.data.split import Indices, split, subset

if TYPE_CHECKING:
    import torch

_READ: Mapping[str, Callable[[DataSettings, Progress], Source]] = {
    "cifar10": cifar.read_cifar10,
    "cifar100": cifar.read_cifar100,
    "digits": embedded.read_digits,
    "fashion_mnist": idx.read_fashion_mnist,
    "image_folder": folder.read,
    "mnist": idx.read_mnist,
    "npz": npz.read,
}

KNOWN: Mapping[str, str] = {
    "cifar10": "60,000 colour photographs of 32x32 pixels, 10 classes",
    "cifar100": "60,000 colour photographs of 32x32 pixels, 100 classes",
    "digits": "1,797 handwritten digits of 8x8 grey pixels, embedded in scikit-learn",
    "fashion_mnist": "70,000 pieces of clothing, 28x28 grey pixels, 10 classes",
    "image_folder": "your own images: one folder for each class, jpg, png, bmp, webp, tiff or gif",
    "mnist": "70,000 handwritten digits, 28x28 grey pixels",
    "npz": "your own arrays: an .npz file with x_train and y_train, or MedMNIST's keys",
}


EMBEDDED = "digits"  # the data set without files


def check_name(name: str) -> None:
    """Raise InputError with the nearest valid name where `name` is no data set."""
    if name not in KNOWN:
        raise InputError(f"there is no data set '{name}'", place="data.name", remedy=nearest(name, KNOWN))


def check_settings(settings: DataSettings) -> None:
    """Raise InputError where there is no such data set, or where it would not look at the root that is given."""
    check_name(settings.name)
    if settings.root is None or settings.name != EMBEDDED:
        return
    own = "npz" if settings.root.endswith(".npz") else "image_folder"
    if "name" in settings.model_fields_set:
        rule, remedy = (
            f"'{EMBEDDED}' comes with scikit-learn and has no root",
            "leave 'root' out, or change the name to",
        )
    else:
        rule, remedy = f"there is a 'root' and no 'name', and without a name the data are '{EMBEDDED}'", "add"
    raise InputError(
        rule, place="data.root", remedy=f"{remedy} 'name: {own}' for images of your own, or that of what lies there"
    )


def load_data(settings: DataSettings, progress: Progress | None = None) -> DataSet:
    """Read a data set and split it. Reading takes seconds, so a process that runs many trials should keep the result.

    An official test or validation split is used as it is; what is not there is held out of the rest,
    stratified and seeded by `split_seed` alone. `progress` is told in a few words what is being done.
    Raises InputError for anything in the settings or the files that cannot be used.
    """
    check_name(settings.name)
    tell = progress or (lambda _: None)
    try:
        source = _READ[settings.name](settings, tell)
    except OSError as error:
        raise InputError(
            f"the data cannot be read: {error.strerror or error}",
            place=str(error.filename or settings.root or "data.root"),
            remedy="see that it is there and may be read",
        ) from error
    _check(source, settings)
    train, validation, test = _three(source, settings)
    if settings.train_images is not None:
        train = _take(
            train,
            subset(train.labels, source.classes, settings.train_images, settings.split_seed, "train_images"),
        )
    if settings.validation_images is not None:
        few = subset(
            validation.labels,
            source.classes,
            settings.validation_images,
            settings.split_seed,
            "validation_images",
        )
        validation = _take(validation, few)
    if settings.size is not None and any(
        images.pixels.shape[2:] != (settings.size, settings.size) for images in (train, validation, test)
    ):
        tell(f"resizing to {settings.size}x{settings.size}")
    return DataSet(
        settings.name,
        source.classes,
        _images(train, source, settings.size),
        _images(validation, source, settings.size),
        _images(test, source, settings.size),
        source.augment,
        source.notes,
        _origins(source, settings),
        source.files,
    )


def _origins(source: Source, settings: DataSettings) -> tuple[str, ...]:
    """Where each split comes from, and which shares in the settings are therefore not used."""
    official = {"validation": source.validation, "test": source.test}
    held_out = [f"{getattr(settings, name):.4g} for {name}" for name, part in official.items() if part is None]
    origins = [f"held out of {source.train.source}: {', '.join(held_out)}"] if held_out else []
    for name, part in official.items():
        if part is not None:
            unused = getattr(settings, name) != DataSettings.model_fields[name].default
            origins.append(f"the {name} split is {part.source}" + (f"; data.{name} is not used" if unused else ""))
    return tuple(origins)


def _check(source: Source, settings: DataSettings) -> None:
    """Check what every data set has to satisfy before it can be split."""
    train = source.train
    if len(source.classes) < 2:
        raise InputError(
            f"only one class, '{source.classes[0]}'",
            place=train.source,
            remedy="classification needs at least two",
        )
    empty = np.flatnonzero(np.bincount(train.labels, minlength=len(source.classes)) == 0)
    if len(empty):
        raise InputError(
            f"class '{source.classes[empty[0]]}' has no training image",
            place=train.source,
            remedy="add images of it, or number the classes without it",
        )
    for other in (source.validation, source.test):
        if other is None:
            continue
        if other.pixels.shape[1] != train.pixels.shape[1]:
            raise InputError(
                f"{other.pixels.shape[1]} channels, but {train.pixels.shape[1]} in {train.source}",
                place=other.source,
            )
        if settings.size is None and other.pixels.shape[2:] != train.pixels.shape[2:]:
            sizes = ["x".join(map(str, images.pixels.shape[:1:-1])) for images in (other, train)]
            raise InputError(
                f"images of {sizes[0]} pixels, but {sizes[1]} in {train.source}",
                place=other.source,
                remedy="set data.size to resize them all",
            )


def _three(source: Source, settings: DataSettings) -> tuple[Part, Part, Part]:
    if source.validation and source.test:
        return source.train, source.validation, source.test
    train, shares = source.train, {}
    if source.validation is None:
        shares["validation"] = settings.validation
    if source.test is None:
        shares["test"] = settings.test
    if sum(shares.values()) >= 1:
        raise InputError(
            f"validation {settings.validation:g} and test {settings.test:g} leave nothing to train on",
            place="data",
            remedy="let them sum to less than 1",
        )
    rest, *held_out = split(train.labels, source.classes, list(shares.values()), settings.split_seed, train.source)
    parts = {name: _take(train, indices) for name, indices in zip(shares, held_out, strict=True)}
    return (
        _take(train, rest),
        source.validation or parts["validation"],
        source.test or parts["test"],
    )


def _take(part: Part, indices: Indices) -> Part:
    return Part(part.pixels[indices], part.labels[indices], part.source)


def _images(part: Part, source: Source, size: int | None) -> Images:
    import torch

    # A copy only where the array is a view, or shares memory that torch must not write to.
    pixels: torch.Tensor = torch.from_numpy(np.require(part.pixels, requirements=["C", "W"]))
    if size is not None:
        pixels = resized(pixels, size)
    return Images(pixels, torch.from_numpy(part.labels), len(source.classes))
