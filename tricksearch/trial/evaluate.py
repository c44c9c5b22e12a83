"""Scores of a deployable on a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tricksearch.contract import Images, Predictor, TrialError
from tricksearch.trial.train import to_unit


@dataclass(frozen=True)
class Scores:
    """Top-1 accuracy and macro F1 in percent, over n images."""

    accuracy: float
    f1: float
    n: int


def evaluate(
    predictor: Predictor, images: Images, batch: int = 64, step_aside: Callable[[], None] = lambda: None
) -> Scores:
    """Score a predictor. Raises TrialError where its logits are not finite."""
    guesses = []
    for start in range(0, len(images), batch):
        step_aside()
        logits = predictor(to_unit(images.pixels[start : start + batch]).cpu().numpy())
        if not np.isfinite(logits).all():
            raise TrialError("the deployable returned logits that are not finite")
        guesses.append(logits.argmax(axis=1))
    labels = images.labels.cpu().numpy()
    return scores(np.concatenate(guesses), labels, images.num_classes)


def scores(guesses: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], num_classes: int) -> Scores:
    """Scores of guessed classes (N,) against labels (N,).

    Macro F1 is the mean over the classes that are guessed or there, as in scikit-learn's `f1_score`.

    >>> scores(np.array([0, 1, 1, 1]), np.array([0, 1, 0, 0]), num_classes=4)
    Scores(accuracy=50.0, f1=50.0, n=4)
    """
    right = np.bincount(labels[guesses == labels], minlength=num_classes)
    both = np.bincount(labels, minlength=num_classes) + np.bincount(guesses, minlength=num_classes)
    f1 = 2 * right[both > 0] / both[both > 0]
    return Scores(float((guesses == labels).mean() * 100), float(f1.mean() * 100), len(labels))
