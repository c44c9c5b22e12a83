"""The data set that needs no file."""

from __future__ import annotations

import numpy as np

from tricksearch.trial.data.dataset import Progress, Source, part
from tricksearch.trial.settings import DataSettings


def read_digits(settings: DataSettings, progress: Progress) -> Source:
    """scikit-learn's digits: 1,797 images of 8x8, grey levels 0 to 16 spread over 0 to 255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    classes = tuple(str(name) for name in digits.target_names)
    return Source(classes, "crop", part(pixels, digits.target, "digits", len(classes)))
