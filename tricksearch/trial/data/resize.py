"""Resizing, on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PIXELS_AT_ONCE = 1 << 24  # 64 MiB of float32


def resized(pixels: Tensor, size: int) -> Tensor:
    """Resize uint8 (N, C, H, W) to (N, C, size, size), antialiased bilinear; the aspect ratio is not kept.

    Images that have the size already are returned as they are.
    """
    import torch
    from torch.nn.functional import interpolate

    count, channels, height, width = pixels.shape
    if (height, width) == (size, size):
        return pixels
    result = torch.empty((count, channels, size, size), dtype=torch.uint8)
    chunk = max(1, PIXELS_AT_ONCE // (channels * max(height * width, size * size)))
    for start in range(0, count, chunk):
        floats = pixels[start : start + chunk].float()
        small = interpolate(floats, (size, size), mode="bilinear", align_corners=False, antialias=True)
        result[start : start + chunk] = small.round_().clamp_(0, 255).byte()
    return result
