"""What holds for every data set, seen on digits and on arrays."""

import numpy as np
import pytest
import torch

from tricksearch.contract import InputError
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data import KNOWN, check_name, load_data


def test_digits_has_three_stratified_splits_that_cover_it():
    data = load_data(DataSettings())
    sizes = [len(each) for each in (data.train, data.validation, data.test)]
    assert sizes == [1257, 270, 270]
    assert data.train.pixels.shape == (1257, 1, 8, 8)
    assert data.train.pixels.max() == 255
    assert data.train.num_classes == len(data.classes) == 10
    assert data.augment == "crop"
    for each in (data.train, data.validation, data.test):
        counts = torch.bincount(each.labels)
        assert counts.max() - counts.min() <= 0.1 * counts.max()


def test_the_seed_alone_decides_and_train_images_leave_validation_as_it_is():
    one, again = load_data(DataSettings(split_seed=3)), load_data(DataSettings(split_seed=3))
    few = load_data(DataSettings(split_seed=3, train_images=100, validation_images=50))
    assert torch.equal(one.train.pixels, again.train.pixels)
    assert torch.equal(one.test.pixels, few.test.pixels)
    assert [len(few.train), len(few.validation)] == [100, 50]
    assert torch.bincount(few.train.labels).tolist() == [10] * 10
    assert not torch.equal(one.train.pixels, load_data(DataSettings()).train.pixels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_images": 2000}, "2000 images are asked for and 1257 are available"),
        ({"train_images": 9}, "9 images cannot hold one of each of the 10 classes"),
        ({"validation_images": 271}, "271 images are asked for and 270 are available"),
        ({"validation": 0.6, "test": 0.4}, "leave nothing to train on"),
        ({"name": "digit"}, "there is no data set 'digit'.*'digits'"),
        ({"name": "image_folder"}, "'image_folder' needs a folder"),
        ({"name": "npz"}, "'npz' needs an .npz file"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message) as caught:
        load_data(DataSettings(**settings))
    assert caught.value.place.startswith("data")


def test_every_known_name_passes_and_has_a_description():
    for name, text in KNOWN.items():
        check_name(name)
        assert 20 < len(text) < 100
    with pytest.raises(InputError, match=r"(?i)did you mean 'cifar100'"):
        check_name("cifar-100")


def test_resizing_keeps_what_is_flat_and_averages_what_is_fine(tmp_path):
    flat = np.full((20, 40, 60, 3), 77, np.uint8)
    board = np.indices((40, 60)).sum(0) % 2 * 255  # antialiasing makes even grey of it, plain bilinear does not
    pixels = np.concatenate([flat, np.broadcast_to(board[None, :, :, None], flat.shape)]).astype(np.uint8)
    path = tmp_path / "x.npz"
    np.savez(path, x_train=pixels, y_train=np.repeat([0, 1], 20))
    data = load_data(DataSettings(name="npz", root=str(path), size=8))
    assert data.train.pixels.shape[1:] == (3, 8, 8)
    assert data.train.pixels.dtype == torch.uint8
    assert (data.train.pixels[data.train.labels == 0] == 77).all()
    inner = data.train.pixels[data.train.labels == 1][:, :, 1:-1, 1:-1].int()
    assert inner.sub(127).abs().max() <= 8


def test_resizing_in_chunks_is_resizing_at_once(monkeypatch):
    from tricksearch.trial.data import resize

    at_once = load_data(DataSettings(size=12)).train.pixels
    monkeypatch.setattr(resize, "PIXELS_AT_ONCE", 12 * 12 * 7)
    assert torch.equal(load_data(DataSettings(size=12)).train.pixels, at_once)
    assert at_once.shape == (1257, 1, 12, 12)


def test_channel_stats_are_those_of_the_training_pixels(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (7000, 2, 3, 3), dtype=np.uint8)
    pixels[..., 2] = 9
    path = tmp_path / "x.npz"
    np.savez(path, x_train=pixels, y_train=np.arange(7000) % 5)
    data = load_data(DataSettings(name="npz", root=str(path)))
    mean, deviation = data.channel_stats()
    train = data.train.pixels.double() / 255
    assert mean == pytest.approx(train.mean((0, 2, 3)).tolist())
    assert deviation[:2] == pytest.approx(train.std((0, 2, 3), correction=0).tolist()[:2])
    assert deviation[2] == pytest.approx(1 / 255)  # a channel that never changes is floored
