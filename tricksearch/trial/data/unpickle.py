"""A reader for the pickles of CIFAR that can build nothing but plain values and arrays of bytes.

A pickle may call any function that its reader lets it find. This one finds stand-ins written here, which keep
to what the releases hold: not even numpy's own unpickling, written in C and trusting its input, is reached.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tricksearch.contract import InputError


class _Dtype:
    """Stands in for numpy.dtype: unsigned bytes are the one type that the releases hold."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        if code not in ("u1", b"u1", "|u1", b"|u1"):
            raise pickle.UnpicklingError(f"an array of type {code!r}, where unsigned bytes belong")

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment say nothing about single bytes."""


class _Array:
    """Stands in for numpy.ndarray until its content is known."""

    array: np.ndarray[Any, np.dtype[np.uint8]]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes) or math.prod(shape) != len(raw):
            raise pickle.UnpicklingError("an array whose shape, type and bytes do not fit together")
        self.array = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _encode(text: str, *_: object) -> bytes:
    return text.encode("latin1")  # how Python 3 writes bytes into a pickle that Python 2 can read


_ADMITTED: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no file of this data set contains")
        return _ADMITTED[module, name]


def read_pickle(path: Path) -> Any:
    """What a CIFAR file holds; Python 2's text comes as bytes. Raises InputError; runs nothing of it."""
    try:
        with path.open("rb") as file:
            return _arrays(_Reader(file, encoding="bytes").load())
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(
            f"the file is refused: {error or type(error).__name__}",
            place=str(path),
            remedy="delete it and fetch it again from the official source",
        ) from error


def _arrays(value: object) -> object:
    if isinstance(value, dict):
        return {key: item.array if isinstance(item, _Array) else item for key, item in value.items()}
    return value
