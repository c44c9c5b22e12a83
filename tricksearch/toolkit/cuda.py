"""Whether there is a GPU that CUDA can use."""

from __future__ import annotations

import ctypes


def has_driver(library: str = "libcuda.so.1") -> bool:
    """Whether NVIDIA's driver is installed; asks in a millisecond what importing torch takes seconds for.

    >>> has_driver("libno_such_driver.so.1")
    False
    """
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def why_no_gpu() -> str | None:
    """Why nothing runs on CUDA here, or None where a GPU can be used."""
    if not has_driver():
        return "there is no driver of NVIDIA"
    import torch

    return None if torch.cuda.is_available() else "there is no GPU that CUDA can use"
