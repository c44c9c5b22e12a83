"""One image file: what its header says, and its pixels the way up that a viewer shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tricksearch.contract import InputError
from tricksearch.trial.data.dataset import Pixels
from tricksearch.trial.data.resize import resized

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
GREY = frozenset({"1", "L", "LA"})
COLOUR = frozenset({"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "RGBX"})
ORIENTATION = 0x0112  # the tag of EXIF
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}  # what turns an image of that orientation upright, as Pillow names it
TURNED = 5  # from here on, an orientation lays the image on its side


@dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are decoded."""

    size: tuple[int, int]  # width, height as a viewer shows it
    grey: bool


@dataclass(frozen=True)
class Picture:
    """An image's pixels, uint8 (C, H, W), and what was done to it on the way."""

    pixels: Pixels
    turned: bool  # upright, as EXIF says
    transparent: bool  # some of its pixels are
    alpha_only: bool  # without its transparency it is one plain colour


def header(path: Path) -> Header:
    """Raises InputError for a file that cannot be read, pixels that are not of 8 bits, and more than one image."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            size, mode = image.size, image.mode
            # The size of a TIFF is that of the image turned upright already.
            on_its_side = image.format != "TIFF" and _orientation(image) >= TURNED
            # What cameras put behind a photograph (MPO) is a preview of it, no image of its own.
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except Exception as error:
        raise _broken(path, error) from error
    if mode not in GREY | COLOUR:
        raise InputError(
            f"pixels of mode '{mode}', which are not 8 bits of grey or of colour",
            place=str(path),
            remedy="convert the image to 8-bit grey or RGB",
        )
    if frames > 1:
        raise InputError(
            f"the file holds {frames} images, and one would be read",
            place=str(path),
            remedy="save the one that is meant in a file of its own, and take this one away",
        )
    return Header(size[::-1] if on_its_side else size, mode in GREY)


def picture(path: Path, grey: bool, size: int | None) -> Picture:
    """Decode an image, to size x size pixels where a size is given. Raises InputError where it cannot be read."""
    import torch
    from PIL import Image

    try:
        with Image.open(path) as image:
            turned = _orientation(image) != 1  # first: to decode a TIFF turns it
            image.load()
            # By this tag alone: ImageOps writes all of them back, and fails at any other one that is malformed.
            turn = TURNS.get(_orientation(image))
            upright = image if turn is None else image.transpose(Image.Transpose[turn])
            plain = upright.convert("L" if grey else "RGB")
            transparent, alpha_only = _transparency(upright, plain) if upright.has_transparency_data else (False, False)
    except Exception as error:
        raise _broken(path, error) from error
    pixels: Pixels = np.array(plain)  # a copy: torch wants memory that it may write
    pixels = pixels[None] if grey else pixels.transpose(2, 0, 1)
    if size is not None:
        pixels = resized(torch.from_numpy(pixels)[None], size)[0].numpy()
    return Picture(pixels, turned, transparent, alpha_only)


def _orientation(image: Image) -> int:
    """1 to 8, as EXIF counts them, of what stands before the pixels: a look behind them would decode them all."""
    from PIL import Image as Pillow

    value = Pillow.Image.getexif(image).get(ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _transparency(image: Image, plain: Image) -> tuple[bool, bool]:
    alpha, colours = np.asarray(image.convert("RGBA"))[..., 3], np.asarray(plain)
    one_colour = bool((colours == colours[0, 0]).all())
    return bool(alpha.min() < 255), one_colour and bool(alpha.min() < alpha.max())


def _broken(path: Path, error: Exception) -> InputError:
    # Pillow raises OSError, SyntaxError, ValueError, struct.error and more for a damaged file.
    return InputError(f"the image cannot be read: {error}", place=str(path), remedy="replace or delete the file")
