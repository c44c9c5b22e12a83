"""Scores of a deployable on a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tricksearch.contract import Deployable, Images, Runtime, TrialError

if TYPE_CHECKING:
    from tricksearch.records.settings import TrainSettings
    from tricksearch.trial.measuring.runner import Runner


@dataclass(frozen=True)
class Scores:
    """Top-1 accuracy and macro F1 in percent, over n images; `f1_error` is the standard error of the F1, in points."""

    accuracy: float
    f1: float
    n: int
    f1_error: float

    @property
    def measures(self) -> dict[str, Any]:
        """Plain JSON, as a stage keeps it."""
        return {"accuracy": self.accuracy, "f1": self.f1, "images": self.n, "f1_error": self.f1_error}


def score(
    logits: Callable[[int, int], np.ndarray[Any, Any]],
    images: Images,
    batch: int = 64,
    step_aside: Callable[[], None] = lambda: None,
) -> Scores:
    """Score what gives the logits (stop - start, K) of the images from start to stop.

    Raises TrialError where they are not finite or not one row an image.
    """
    guesses = []
    for start in range(0, len(images), batch):
        step_aside()
        stop = min(start + batch, len(images))
        given = logits(start, stop)
        if given.shape != (stop - start, images.num_classes):
            raise TrialError(f"the deployable returned logits of the shape {given.shape} for {stop - start} images")
        if not np.isfinite(given).all():
            raise TrialError("the deployable returned logits that are not finite")
        guesses.append(given.argmax(axis=1))
    return scores(np.concatenate(guesses), images.labels.cpu().numpy(), images.num_classes)


def loaded_and_scored(
    runner: Runner,
    runtime: Runtime,
    deployable: Deployable,
    settings: TrainSettings,
    images: Images,
    step_aside: Callable[[], None] = lambda: None,
) -> Scores:
    """Score what a runtime computes, with the threads of the training; `images` are those that the runner holds.

    Raises TrialError, as where the runtime fails, and MemoryError.
    """
    runner.load(runtime, deployable, settings.threads)
    return score(runner.logits, images, step_aside=step_aside)


def scores(guesses: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], num_classes: int) -> Scores:
    """Scores of guessed classes (N,) against labels (N,).

    Macro F1 is the mean over the classes that are guessed or there, as in scikit-learn's `f1_score`. Its error is that
    of the choice of the images, by the delta method (Takahashi et al. 2022, "Confidence interval for micro-averaged F1
    and macro-averaged F1 scores"), written as the scatter of what each image adds.

    >>> scores(np.array([0, 1, 1, 1]), np.array([0, 1, 0, 0]), num_classes=4)
    Scores(accuracy=50.0, f1=50.0, n=4, f1_error=25.0)
    """
    right = np.bincount(labels[guesses == labels], minlength=num_classes)
    both = np.bincount(labels, minlength=num_classes) + np.bincount(guesses, minlength=num_classes)
    f1 = np.divide(2 * right, both, out=np.zeros(num_classes), where=both > 0)
    shown = int((both > 0).sum())
    # The derivative of 2 x right / both by one image: of its own class, of the guessed one, of both where it is right.
    hit, weight = guesses == labels, np.divide(len(labels), both, out=np.zeros(num_classes), where=both > 0) / shown
    added = 2 * hit * weight[labels] - (f1 * weight)[labels] - (f1 * weight)[guesses]
    error = float(np.sqrt((added**2).mean() / len(labels)))
    return Scores(float(hit.mean() * 100), float(f1.sum() / shown * 100), len(labels), 100 * error)
