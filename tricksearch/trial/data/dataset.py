"""What a data set is: before the split, as its files hold it, and after."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tricksearch.contract import Images, InputError

if TYPE_CHECKING:
    import torch

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Progress = Callable[[str], None]

GREY_LEVEL = 1 / 255


@dataclass(frozen=True)
class Part:
    """Images as the files hold them: pixels uint8 (N, C, H, W), labels int64 (N,), and their file."""

    pixels: Pixels
    labels: Labels
    source: str


@dataclass(frozen=True)
class Source:
    """A data set before it is split. `validation` and `test` are official splits, None where absent."""

    classes: tuple[str, ...]
    augment: str
    train: Part
    validation: Part | None = None
    test: Part | None = None
    notes: tuple[str, ...] = ()  # what a person should know of how the files were read
    files: tuple[Path, ...] = ()  # that were read


@dataclass(frozen=True)
class DataSet:
    """Three disjoint splits on the CPU, pixels uint8 (N, C, H, W), and the augmentation that suits them.

    `notes` say in words what a person should know of how the files were read, `origins` where the splits come from;
    `files` are what was read, and none where the data came from another machine.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    validation: Images
    test: Images
    augment: str
    notes: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    def digest(self, split: str) -> str:
        """A hash of the pixels and labels of 'train', 'validation' or 'test'."""
        if split not in self._digests:
            images: Images = getattr(self, split)
            content = hashlib.sha256(str(tuple(images.pixels.shape)).encode())
            content.update(images.pixels.numpy().tobytes())
            content.update(images.labels.numpy().tobytes())
            self._digests[split] = content.hexdigest()[:32]
        return self._digests[split]

    def train_on(self, device: torch.device) -> Images:
        """The training split on a device: one copy for all who ask, and on the CPU the split itself. Not to be changed.

        There is one at a time, that of the device that was asked for last.
        """
        images = self.train
        if images.pixels.device == device:
            return images
        if device not in self._placed:
            self._placed.clear()  # before the next one takes its place
            self._placed[device] = Images(images.pixels.to(device), images.labels.to(device), images.num_classes)
        return self._placed[device]

    def was_changed(self) -> None:
        """Hear that somebody wrote into its images: its digests are taken anew, so that nothing goes on with them."""
        self._digests.clear()
        self._placed.clear()

    @functools.cached_property
    def _placed(self) -> dict[torch.device, Images]:
        return {}

    @functools.cached_property
    def _digests(self) -> dict[str, str]:
        return {}

    def channel_stats(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel of the training split, for pixels in [0, 1].

        A standard deviation is at least one grey level, 1/255, so that it can be divided by.
        """
        pixels = self.train.pixels.numpy()
        levels = np.arange(256) / 255
        means, deviations = [], []
        for channel in range(pixels.shape[1]):
            # A histogram is exact, and by chunks it never makes a float copy of the whole split.
            counts = np.zeros(256, dtype=np.int64)
            for start in range(0, len(pixels), 4096):
                counts += np.bincount(pixels[start : start + 4096, channel].ravel(), minlength=256)
            share = counts / counts.sum()
            mean = float(share @ levels)
            means.append(mean)
            deviations.append(max(float(share @ (levels - mean) ** 2) ** 0.5, GREY_LEVEL))
        return tuple(means), tuple(deviations)


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 file", "2 files"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def part(pixels: Any, labels: Any, source: str, classes: int) -> Part:
    """Put pixels and labels together. Raises InputError where there are none, or they do not fit together."""
    pixels, labels = np.asarray(pixels), np.asarray(labels, dtype=np.int64)
    if len(pixels) == 0:
        raise InputError("there is no image in it", place=source, remedy="give at least a few images of each class")
    if len(pixels) != len(labels):
        raise InputError(
            f"{len(pixels)} images but {len(labels)} labels",
            place=source,
            remedy="give one label for each image",
        )
    if labels.min() < 0 or labels.max() >= classes:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise InputError(
            f"labels out of range: {wrong} is not one of 0 to {classes - 1}",
            place=source,
            remedy="number the classes from 0 without gaps",
        )
    return Part(pixels, labels, source)
