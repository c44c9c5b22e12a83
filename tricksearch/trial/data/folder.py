"""Image folders: ROOT/class/*.jpg, or ROOT/train/class/*.jpg with val and test beside train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tricksearch.contract import InputError
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data.dataset import Part, Pixels, Progress, Source, part
from tricksearch.trial.data.official import own_root
from tricksearch.trial.data.resize import resized

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
OFFICIAL = (("validation", ("validation", "val")), ("test", ("test",)))  # the folders that may hold each split
GREY = frozenset({"1", "L", "LA"})
COLOUR = frozenset({"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "RGBX"})
TELL_EVERY = 2000  # images


def read(settings: DataSettings, progress: Progress) -> Source:
    """Read every image. They stay grey where all are grey and become RGB otherwise; transparency is dropped.

    A folder `train` with class folders in it is the official training split, and `val` (or `validation`) and
    `test` beside it the others. Classes are the training folders' names, sorted.
    """
    root = own_root(settings, "a folder that holds one folder of images for each class")
    if not root.is_dir():
        raise InputError("this is no folder", place=str(root), remedy="name a folder with one folder for each class")
    folders = {"train": root}
    if (root / "train").is_dir() and _sub_folders(root / "train"):
        folders["train"] = root / "train"
        for split, names in OFFICIAL:
            splits = [name for name in names if (root / name).is_dir()]
            if len(splits) > 1:
                raise InputError(
                    f"the folders '{splits[0]}' and '{splits[1]}' both claim to be the {split} split",
                    place=str(root),
                    remedy="keep one of them",
                )
            if splits:
                folders[split] = root / splits[0]
    classes = tuple(sub_folder.name for sub_folder in _sub_folders(folders["train"]))
    files = {name: _files(folder, classes) for name, folder in folders.items()}
    sizes, grey = _headers([path for splits in files.values() for path, _ in splits], progress)
    if settings.size is None and len(sizes) > 1:
        (one, first), (two, second) = list(sizes.items())[:2]
        raise InputError(
            f"images differ in size: {first} has {one[0]}x{one[1]} pixels, {second} {two[0]}x{two[1]}",
            place=str(root),
            remedy="set data.size to resize them all",
        )

    def pixels_of(image: Image) -> Pixels:
        return _pixels(image, grey, settings.size)

    parts = {
        name: _decode(splits, str(folders[name]), len(classes), pixels_of, progress) for name, splits in files.items()
    }
    return Source(classes, "flip_crop", **parts)


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """The images of a split, each with its label."""
    files = []
    present = _sub_folders(folder)
    if not present:
        raise InputError(
            "the folder holds no class folder",
            place=str(folder),
            remedy="put the images of each class into its own folder",
        )
    for sub_folder in present:
        if sub_folder.name not in classes:
            raise InputError(
                f"there is no training folder for class '{sub_folder.name}'",
                place=str(sub_folder),
                remedy="add one, or take this folder away",
            )
        images = sorted(
            file for file in sub_folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        if not images:
            raise InputError(
                f"the class folder holds no image ({', '.join(sorted(SUFFIXES))})",
                place=str(sub_folder),
                remedy="add images, or take the folder away",
            )
        files += [(path, classes.index(sub_folder.name)) for path in images]
    return files


def _headers(paths: list[Path], progress: Progress) -> tuple[dict[tuple[int, int], Path], bool]:
    """Each size (width, height) with the first image that has it, and whether all are grey."""
    from PIL import Image

    progress(f"looking at {len(paths)} images")
    sizes: dict[tuple[int, int], Path] = {}
    grey = True
    for path in paths:
        try:
            with Image.open(path) as image:
                size, mode = image.size, image.mode
        except Exception as error:
            raise _broken(path, error) from error
        if mode not in GREY | COLOUR:
            raise InputError(
                f"pixels of mode '{mode}', which are not 8 bits of grey or of colour",
                place=str(path),
                remedy="convert the image to 8-bit grey or RGB",
            )
        sizes.setdefault(size, path)
        grey = grey and mode in GREY
    return sizes, grey


def _decode(
    files: list[tuple[Path, int]],
    source: str,
    classes: int,
    pixels_of: Callable[[Image], Pixels],
    progress: Progress,
) -> Part:
    from PIL import Image

    pixels = None
    for number, (path, _) in enumerate(files):
        if number and number % TELL_EVERY == 0:
            progress(f"reading {source}: {number} of {len(files)} images")
        try:
            with Image.open(path) as image:
                one = pixels_of(image)
        except Exception as error:
            raise _broken(path, error) from error
        if pixels is None:
            pixels = np.empty((len(files), *one.shape), np.uint8)
        pixels[number] = one
    return part(pixels, [label for _, label in files], source, classes)


def _pixels(image: Image, grey: bool, size: int | None) -> Pixels:
    import torch

    pixels: Pixels = np.array(image.convert("L" if grey else "RGB"))  # a copy: torch wants memory that it may write
    pixels = pixels[None] if grey else pixels.transpose(2, 0, 1)
    return pixels if size is None else resized(torch.from_numpy(pixels)[None], size)[0].numpy()


def _broken(path: Path, error: Exception) -> InputError:
    # Pillow raises OSError, SyntaxError, ValueError, struct.error and more for a damaged file.
    return InputError(f"the image cannot be read: {error}", place=str(path), remedy="replace or delete the file")
