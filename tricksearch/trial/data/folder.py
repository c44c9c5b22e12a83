"""Image folders: ROOT/class/*.jpg, or ROOT/train/class/*.jpg with folders of the other splits beside train."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tricksearch.contract import InputError
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data.customary import by_split, split_named
from tricksearch.trial.data.dataset import Part, Progress, Source, count, part
from tricksearch.trial.data.official import own_root
from tricksearch.trial.data.pictures import SUFFIXES, header, picture

TELL_EVERY = 2000  # images
MOST_NAMED = 5  # kinds of files, and folders, that a note names


@dataclass
class _Reading:
    """What is met on the way and told at the end."""

    progress: Progress
    suffixes: Counter[str] = field(default_factory=Counter)  # of files that are not read
    folders: list[str] = field(default_factory=list)  # that are not read
    turned: int = 0
    transparent: int = 0
    alpha_only: list[Path] = field(default_factory=list)

    def passed_over(self, path: Path, root: Path) -> None:
        """Remember a file or folder that is not read; hidden ones are nobody's images."""
        if path.name.startswith("."):
            return
        if path.is_dir():
            self.folders.append(str(path.relative_to(root)))
        else:
            self.suffixes[path.suffix.lower() or "no ending"] += 1

    def notes(self) -> tuple[str, ...]:
        """What a person should know of how the files were read."""
        notes = []
        if self.suffixes:
            often_first = sorted(self.suffixes.items(), key=lambda item: (-item[1], item[0]))
            kinds = [f"{number} {suffix}" for suffix, number in often_first[:MOST_NAMED]]
            more = ", ..." if len(self.suffixes) > MOST_NAMED else ""
            notes.append(f"not read: {count(self.suffixes.total(), 'file')} ({', '.join(kinds)}{more})")
        if self.folders:
            more = ", ..." if len(self.folders) > MOST_NAMED else ""
            names = ", ".join(sorted(self.folders)[:MOST_NAMED])
            notes.append(f"not read: {count(len(self.folders), 'folder')} ({names}{more})")
        if self.turned:
            notes.append(f"{count(self.turned, 'image')} turned upright, as EXIF says")
        if self.transparent:
            notes.append(f"transparency is dropped; {count(self.transparent, 'image')} with transparent pixels")
        return tuple(notes)


def read(settings: DataSettings, progress: Progress) -> Source:
    """Read every image. They stay grey where all are grey and become RGB otherwise; transparency is dropped.

    A folder `train` with class folders in it is the official training split, and `val` and `test` beside it, or other
    names that are customary, the others. Classes are the training folders' names, sorted.
    """
    root = own_root(settings, "a folder that holds one folder of images for each class")
    if not root.is_dir():
        raise InputError("this is no folder", place=str(root), remedy="name a folder with one folder for each class")
    reading = _Reading(progress)
    folders = _splits(root, reading)
    classes = tuple(sub_folder.name for sub_folder in _sub_folders(folders["train"]))
    files = {name: _files(folder, classes, root, reading) for name, folder in folders.items()}
    grey = _look([path for splits in files.values() for path, _ in splits], settings, root, reading)
    parts = {
        name: _decode(splits, str(folders[name]), len(classes), grey, settings.size, reading)
        for name, splits in files.items()
    }
    if reading.alpha_only:
        raise InputError(
            f"what {count(len(reading.alpha_only), 'image')} show stands in the transparency alone, which is dropped: "
            "without it each is one plain colour",
            place=str(reading.alpha_only[0]),
            remedy="paint them onto a background: image = PIL.Image.open(path).convert('RGBA'), then "
            "PIL.Image.alpha_composite(PIL.Image.new('RGBA', image.size, 'white'), image).convert('RGB').save(path)",
        )
    read_files = tuple(path for splits in files.values() for path, _ in splits)
    return Source(classes, "flip_crop", **parts, notes=reading.notes(), files=read_files)


def _splits(root: Path, reading: _Reading) -> dict[str, Path]:
    """The folder of each split that has one; the root itself is the training split where none claims to be."""
    below = {folder.name: folder for folder in _sub_folders(root)}
    if not any(split_named(name) == "train" and _sub_folders(folder) for name, folder in below.items()):
        for path in root.iterdir():
            if not path.is_dir():
                reading.passed_over(path, root)
        return {"train": root}
    folders = {split: below[name] for split, name in by_split(below, str(root), "the folders").items()}
    for place in (root, *folders.values()):
        for path in place.iterdir():
            if path not in folders.values() and (place == root or not path.is_dir()):
                reading.passed_over(path, root)
    return folders


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path, classes: tuple[str, ...], root: Path, reading: _Reading) -> list[tuple[Path, int]]:
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
        images = []
        for path in sorted(sub_folder.iterdir()):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir():
                images.append(path)
            else:
                reading.passed_over(path, root)
        if not images:
            raise InputError(
                f"the class folder holds no image ({', '.join(sorted(SUFFIXES))})",
                place=str(sub_folder),
                remedy="add images, or take the folder away",
            )
        files += [(path, classes.index(sub_folder.name)) for path in images]
    return files


def _look(paths: list[Path], settings: DataSettings, root: Path, reading: _Reading) -> bool:
    """Whether all images are grey. Raises InputError where they differ in size and none is set."""
    reading.progress(f"looking at {len(paths)} images")
    first: dict[tuple[int, int], Path] = {}
    grey = True
    for path in paths:
        head = header(path)
        first.setdefault(head.size, path)
        grey = grey and head.grey
    if settings.size is None and len(first) > 1:
        (one, path), (two, other) = list(first.items())[:2]
        raise InputError(
            f"images differ in size: {path} has {one[0]}x{one[1]} pixels, {other} {two[0]}x{two[1]}",
            place=str(root),
            remedy="set data.size to resize them all",
        )
    return grey


def _decode(
    files: list[tuple[Path, int]], source: str, classes: int, grey: bool, size: int | None, reading: _Reading
) -> Part:
    pixels = None
    for number, (path, _) in enumerate(files):
        if number and number % TELL_EVERY == 0:
            reading.progress(f"reading {source}: {number} of {len(files)} images")
        one = picture(path, grey, size)
        reading.turned += one.turned
        reading.transparent += one.transparent
        reading.alpha_only += [path] if one.alpha_only else []
        if pixels is None:
            pixels = np.empty((len(files), *one.pixels.shape), np.uint8)
        if one.pixels.shape != pixels.shape[1:]:  # it was turned by a tag behind its pixels, or changed meanwhile
            raise InputError(
                f"the image is {one.pixels.shape[2]}x{one.pixels.shape[1]} pixels large, others "
                f"{pixels.shape[3]}x{pixels.shape[2]}",
                place=str(path),
                remedy="set data.size to resize them all",
            )
        pixels[number] = one.pixels
    return part(pixels, [label for _, label in files], source, classes)
