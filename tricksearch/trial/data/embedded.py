"""The data set that needs no file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from tricksearch.records.settings import DataSettings
from tricksearch.trial.data.dataset import Progress, Source, part


def read_digits(settings: DataSettings, progress: Progress) -> Source:
    """scikit-learn's digits: 1,797 images of 8x8, grey levels 0 to 16 spread over 0 to 255."""
    levels, labels = _digits()
    pixels = np.round(levels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)[:, None]
    classes = tuple(str(name) for name in range(10))
    return Source(classes, "crop", part(pixels, labels, "digits", len(classes)))


def _digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Grey levels (1797, 64) and labels (1797,)."""
    spec = importlib.util.find_spec("sklearn")
    file = Path(spec.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if spec else None
    if file is not None and file.is_file():
        # Importing scikit-learn takes three seconds, in every worker, to read this one table.
        table = np.loadtxt(file, delimiter=",")
        return table[:, :-1], table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.data, digits.target
