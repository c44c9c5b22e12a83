"""Scores, against scikit-learn's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from tricksearch.contract import Images, TrialError
from tricksearch.trial.measuring.scores import score, scores


@given(st.data(), st.integers(2, 7), st.integers(1, 30))
def test_scores_are_those_of_scikit_learn(data, classes, count):
    some = st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)
    guesses, labels = np.array(data.draw(some)), np.array(data.draw(some))
    found = scores(guesses, labels, classes)
    assert found.n == count
    assert found.accuracy == pytest.approx(100 * accuracy_score(labels, guesses))
    expected = f1_score(labels, guesses, average="macro", zero_division=0)  # classes guessed or there
    assert found.f1 == pytest.approx(100 * expected)


def images_of(count: int, classes: int = 5) -> Images:
    """Images whose first pixel is their number."""
    pixels = torch.zeros(count, 1, 4, 4, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.arange(count)
    return Images(pixels, torch.arange(count) % classes, classes)


@pytest.mark.parametrize("batch", [1, 7, 64, 200])
def test_every_image_is_scored_once_in_batches(batch):
    images, seen, aside = images_of(100), [], []

    def logits_of(start: int, stop: int) -> np.ndarray:
        number = np.arange(start, stop)
        seen.extend(number)
        assert len(number) <= batch
        logits = np.zeros((len(number), 5), dtype=np.float32)
        logits[np.arange(len(number)), np.where(number < 25, 0, number % 5)] = 1.0  # wrong for 20 of the first 25
        return logits

    found = score(logits_of, images, batch, step_aside=lambda: aside.append(1))
    assert seen == list(range(100))
    assert found.accuracy == 80.0
    assert found.n == 100
    assert len(aside) == -(-100 // batch)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_an_error(wrong):
    def logits_of(start: int, stop: int) -> np.ndarray:
        logits = np.zeros((stop - start, 5), dtype=np.float32)
        logits[-1, 2] = wrong
        return logits

    with pytest.raises(TrialError, match="logits that are not finite"):
        score(logits_of, images_of(10))


@pytest.mark.parametrize("shape", [(10,), (10, 4), (9, 5)])
def test_logits_of_another_shape_are_an_error(shape):
    with pytest.raises(TrialError, match=r"logits of the shape .* for 10 images"):
        score(lambda start, stop: np.zeros(shape, np.float32), images_of(10))


def test_the_error_of_f1_is_that_of_drawing_the_images_again():
    random = np.random.default_rng(0)
    labels = random.choice(4, 400, p=[0.4, 0.3, 0.2, 0.1])
    guesses = np.where(random.random(400) < 0.8, labels, random.choice(4, 400))
    drawn = [random.integers(0, 400, 400) for _ in range(2000)]
    again = [scores(guesses[index], labels[index], 4).f1 for index in drawn]
    assert scores(guesses, labels, 4).f1_error == pytest.approx(np.std(again), rel=0.08)
    assert scores(labels, labels, 5).f1_error == 0, "a class that is not there adds nothing"
