"""Augmentation of whole batches, on their device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KINDS = ("none", "crop", "flip_crop")


def augmentation(kind: str, size: tuple[int, int], generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """A function of images (N, C, H, W) in [0, 1], on the generator's device, that keeps their shape.

    "crop" moves each image by up to an eighth of its height and width, black coming in from the sides (as in
    He et al. 2016, arXiv 1512.03385: 4 pixels of 32); "flip_crop" also mirrors every second one on average.
    `size` is (H, W). All that is drawn comes from `generator`; no other random stream moves.
    Raises ValueError for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"augmentation must be one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "none":
        return lambda images: images
    if kind == "crop":
        return lambda images: random_crop(images, size, generator)
    return lambda images: random_crop(random_flip(images, generator), size, generator)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """OptunaMirror each of the images (N, C, H, W) left to right with probability 1/2."""
    import torch
    from kornia.geometry.transform import hflip

    mirrored = torch.rand((len(images), 1, 1, 1), generator=generator, device=images.device) < 0.5
    return torch.where(mirrored, hflip(images), images)


def random_crop(images: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Pad images (N, C, H, W) with black by an eighth of each side, at least 1, and cut each at random."""
    # kornia's RandomCrop draws from the global random stream and, for small
    # batches, costs many times this.
    import torch
    from torch.nn.functional import pad

    count, channels, *_ = images.shape
    index = []
    margins = [max(1, (side + 4) // 8) for side in size]
    for side, margin in zip(size, margins, strict=True):
        start = torch.randint(2 * margin + 1, (count, 1), generator=generator, device=images.device)
        index.append(start + torch.arange(side, device=images.device))
    rows, columns = index
    (height, width), (down, across) = size, margins
    padded = pad(images, (across, across, down, down))
    cut = padded.gather(2, rows[:, None, :, None].expand(count, channels, height, width + 2 * across))
    return cut.gather(3, columns[:, None, None, :].expand(count, channels, height, width))
