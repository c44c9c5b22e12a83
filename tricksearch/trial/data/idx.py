"""MNIST and Fashion-MNIST: the IDX files, plain or gzipped, described at yann.lecun.com/exdb/mnist."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from tricksearch.contract import InputError
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data.dataset import Part, Pixels, Progress, Source, part
from tricksearch.trial.data.official import Release, find

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CLOTHES = (
    "t-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
DIGITS = tuple(str(digit) for digit in range(10))


def read_mnist(settings: DataSettings, progress: Progress) -> Source:
    """MNIST from ROOT/MNIST/raw, or from the files in ROOT."""
    return _read(settings, progress, "MNIST", DIGITS, "crop")


def read_fashion_mnist(settings: DataSettings, progress: Progress) -> Source:
    """Fashion-MNIST from ROOT/FashionMNIST/raw, or from the files in ROOT."""
    return _read(settings, progress, "FashionMNIST", CLOTHES, "flip_crop")


def _read(settings: DataSettings, progress: Progress, name: str, classes: tuple[str, ...], augment: str) -> Source:
    release = Release(name, f"{name}/raw", FILES, suffixes=("", ".gz"))
    folder = find(settings, progress, release)
    progress(f"reading {folder}")
    train, test = (_part(release, folder, prefix, len(classes)) for prefix in ("train", "t10k"))
    paths = (release.path(folder, file) for file in FILES)
    return Source(classes, augment, train, test=test, files=tuple(path for path in paths if path is not None))


def _part(release: Release, folder: Path, prefix: str, classes: int) -> Part:
    arrays = []
    for name, dimensions in ((f"{prefix}-images-idx3-ubyte", 3), (f"{prefix}-labels-idx1-ubyte", 1)):
        path = release.path(folder, name)
        if path is None:
            raise InputError("the file is not there", place=str(folder / name))
        arrays.append(read_idx(path, dimensions))
    return part(arrays[0][:, None], arrays[1], f"{folder}: {prefix}", classes)


def read_idx(path: Path, dimensions: int) -> Pixels:
    """The bytes of an IDX file with that many dimensions. Raises InputError where it is damaged."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise _broken(path, str(error)) from error
    # Two zero bytes, the type (8: unsigned bytes), the number of dimensions, then each big-endian.
    if raw[:4] != bytes((0, 0, 8, dimensions)):
        raise _broken(path, f"it begins with {raw[:4].hex() or 'nothing'}, not with 000008{dimensions:02x}")
    header = 4 + 4 * dimensions
    if len(raw) < header:
        raise _broken(path, "its header is cut short")
    shape = [int(side) for side in np.frombuffer(raw[4:header], ">u4")]
    if len(raw) - header != math.prod(shape):
        raise _broken(path, f"its header announces {math.prod(shape)} bytes and {len(raw) - header} follow")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _broken(path: Path, why: str) -> InputError:
    return InputError(
        f"the file is damaged or no IDX file of this data set: {why}",
        place=str(path),
        remedy="delete it and fetch it again",
    )
