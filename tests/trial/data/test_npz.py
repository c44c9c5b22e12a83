import io
import zipfile

import numpy as np
import pytest

from tricksearch.contract import InputError
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data import load_data

X = np.random.default_rng(0).integers(0, 256, (30, 6, 5), dtype=np.uint8)
Y = np.arange(30) % 3


def load(path, **more):
    return load_data(DataSettings(name="npz", root=str(path), **more))


def save(tmp_path, **arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (X, (1, 6, 5)),
        (X[..., None], (1, 6, 5)),
        (X[:, None], (1, 6, 5)),
        (np.repeat(X[..., None], 3, -1), (3, 6, 5)),
        (np.repeat(X[:, None], 3, 1), (3, 6, 5)),
    ],
)
@pytest.mark.parametrize("form", ["uint8", "float32", "float64"])
def test_every_shape_and_type_gives_the_same_pixels(tmp_path, images, shape, form):
    images = images if form == "uint8" else (images / 255).astype(form)
    data = load(save(tmp_path, x_train=images, y_train=Y, x_test=images, y_test=Y[:, None].astype(np.uint8)))
    assert data.augment == "none"
    assert data.classes == ("0", "1", "2")
    assert data.test.pixels.shape == (30, *shape)
    assert all(np.array_equal(channel, X) for channel in data.test.pixels.numpy().transpose(1, 0, 2, 3))
    assert data.test.labels.tolist() == Y.tolist()
    assert len(data.train) + len(data.validation) == 30


def test_medmnist_keys_and_official_splits(tmp_path):
    data = load(
        save(
            tmp_path,
            train_images=X,
            train_labels=Y[:, None].astype(np.uint8),
            val_images=X[:7],
            val_labels=Y[:7, None],
            test_images=X[:4],
            test_labels=Y[:4, None],
        )
    )
    assert [len(each) for each in (data.train, data.validation, data.test)] == [30, 7, 4]
    assert np.array_equal(data.validation.pixels[:, 0], X[:7])


def test_without_official_splits_three_are_made(tmp_path):
    data = load(save(tmp_path, x_train=X, y_train=Y, unused=np.zeros(3)), validation=0.2, test=0.3)
    assert [len(each) for each in (data.train, data.validation, data.test)] == [15, 6, 9]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "VALID"])
@pytest.mark.parametrize("form", ["x_{}", "{}_images"])
def test_customary_names_of_splits_are_read(tmp_path, name, form):
    keys = {form.format(name): X[:9], form.replace("x", "y").replace("images", "labels").format(name): Y[:9]}
    data = load(save(tmp_path, x_train=X, y_train=Y, **keys))
    assert np.array_equal(data.validation.pixels[:, 0], X[:9])
    assert not any("not read" in note for note in data.notes)


def test_capitals_are_read_and_what_is_not_read_is_told(tmp_path):
    data = load(save(tmp_path, X_train=X, Y_train=Y, X_test=X[:5], Y_test=Y[:5], x_extra=X, names=np.zeros(3)))
    assert len(data.test) == 5
    assert "not read: 2 arrays (names, x_extra)" in data.notes


def test_labels_of_several_classes_are_not_made_one_by_the_largest(tmp_path):
    several = np.random.default_rng(0).integers(0, 2, (30, 4))
    several[:2] = [[1, 1, 0, 0], [0, 0, 0, 0]]
    with pytest.raises(InputError, match=r"of shape \(30, 4\).* rows with several ones, \d+ with none") as caught:
        load(save(tmp_path, x_train=X, y_train=several))
    assert "argmax" not in str(caught.value)
    assert "labels[:, k].astype('int64')" in caught.value.remedy
    assert load(save(tmp_path, x_train=X, y_train=several[:, 2].astype("int64"))).classes == ("0", "1")
    one_hot = np.eye(3)[Y]
    with pytest.raises(InputError, match=r"labels\.argmax\(axis=1\)"):
        load(save(tmp_path, x_train=X, y_train=one_hot))
    assert load(save(tmp_path, x_train=X, y_train=one_hot.argmax(axis=1))).classes == ("0", "1", "2")
    with pytest.raises(InputError, match=r"Give whole numbers from 0 of the shape \(N,\)"):
        load(save(tmp_path, x_train=X, y_train=np.random.default_rng(0).random((30, 3))))


@pytest.mark.parametrize(
    ("labels", "remedy"),
    [
        (Y * 1.0, "labels.astype('int64')"),
        (Y[Y < 2] == 1, "labels.astype('int64')"),
        (np.array(["cat", "dog", "cow"])[Y], "numpy.unique(labels, return_inverse=True)[1]"),
    ],
)
def test_the_remedy_for_labels_of_another_type_helps(tmp_path, labels, remedy):
    images = X[: len(labels)]
    with pytest.raises(InputError, match="where whole numbers are needed") as caught:
        load(save(tmp_path, x_train=images, y_train=labels))
    assert remedy in caught.value.remedy
    mended = eval(remedy, {"labels": labels, "numpy": np})
    data = load(save(tmp_path, x_train=images, y_train=mended))
    assert len(data.classes) == len(np.unique(labels))


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


FLOATS = X / 255


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no 'x_train'.*nothing"),
        ({"a": X}, "no 'x_train'.* a"),
        ({"x_train": X}, "there is 'x_train' but no 'y_train'"),
        ({"x_train": X, "y_train": Y, "y_test": Y}, "there is 'y_test' but no 'x_test'"),
        ({"x_train": X, "y_train": Y[:29]}, "30 images but 29 labels"),
        ({"x_train": X[:0], "y_train": Y[:0]}, "no image"),
        ({"x_train": X, "y_train": changed(Y, 4, -1)}, "labels out of range: -1 is negative"),
        ({"x_train": X, "y_train": changed(Y, 4, 4)}, "class '3' has no training image"),
        ({"x_train": X, "y_train": changed(Y, 4, 10**12)}, "labels out of range: 1000000000000"),
        ({"x_train": X, "y_train": changed(Y, 4, 10**8)}, "labels out of range: 100000000"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": changed(Y, 0, 3)}, "class '3' has no training image"),
        ({"x_train": X, "y_train": Y * 0}, "only one class"),
        ({"x_train": X, "y_train": changed(Y * 0, 0, 1)}, "class '1' has 1 image, too few"),
        ({"x_train": X, "y_train": np.eye(3, dtype=int)[Y]}, r"labels of shape \(30, 3\)"),
        ({"x_train": X, "y_train": Y / 1}, "labels of type float64"),
        ({"x_train": X, "y_train": np.array(["a"] * 30)}, "labels of type <U1"),
        ({"x_train": X.astype(int), "y_train": Y}, "pixels of type int64"),
        ({"x_train": changed(FLOATS, (3, 0, 0), np.nan), "y_train": Y}, "NaN"),
        ({"x_train": changed(FLOATS, (3, 0, 0), np.inf), "y_train": Y}, "infinite"),
        ({"x_train": changed(FLOATS, (3, 0, 0), -0.1), "y_train": Y}, "pixels from -0.1 to 1"),
        ({"x_train": X * 1.0, "y_train": Y}, "pixels from 0 to 255"),
        ({"x_train": X, "y_train": Y, "train_images": X, "train_labels": Y}, "'train_images' and 'x_train' both claim"),
        (
            {"x_train": X, "y_train": Y, "x_val": X, "y_val": Y, "x_valid": X, "y_valid": Y},
            "'x_val' and 'x_valid' both",
        ),
        ({"X_train": X}, "there is 'X_train' but no 'Y_train'"),
        ({"x_train": X, "y_train": Y, "val_labels": Y}, "there is 'val_labels' but no 'val_images'"),
        ({"x_train": X[:, 0], "y_train": Y}, r"images of shape \(30, 5\)"),
        ({"x_train": np.zeros((30, 8, 8, 8), np.uint8), "y_train": Y}, r"images of shape \(30, 8, 8, 8\)"),
        ({"x_train": np.zeros((30, 0, 8), np.uint8), "y_train": Y}, "hold no pixel"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, 1:], "y_test": Y}, "images of 5x5 pixels, but 5x6"),
        ({"x_train": X, "y_train": Y, "x_val": X[..., None].repeat(3, -1), "y_val": Y}, "3 channels, but 1"),
        ({"x_train": np.array([object()] * 30), "y_train": Y}, "cannot be read as .npz"),
    ],
)
def test_arrays_that_cannot_be_are_named(tmp_path, arrays, message):
    path = save(tmp_path, **arrays)
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert str(path) in caught.value.place


def test_splits_of_different_sizes_need_a_size(tmp_path):
    path = save(tmp_path, x_train=X, y_train=Y, x_test=X[:, 1:], y_test=Y)
    assert load(path, size=4).test.pixels.shape == (30, 1, 4, 4)


def test_a_file_that_is_no_npz_or_is_cut_short_is_named(tmp_path):
    path = save(tmp_path, x_train=X, y_train=Y)
    whole = path.read_bytes()
    array = io.BytesIO()
    np.save(array, X)
    damaged = bytearray(whole)
    damaged[300:310] = b"\xff" * 10  # within the pixels: the archive's checksum sees it
    not_an_array = io.BytesIO()
    with zipfile.ZipFile(not_an_array, "w") as file:
        file.writestr("x_train.npy", b"\x93NUMPY\x01\x00\x08\x00nonsense")
        file.writestr("y_train.npy", b"")
    contents = [b"", b"text", whole[:100], whole[:-30], array.getvalue(), bytes(damaged), not_an_array.getvalue()]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            load(path)
        assert str(path) in caught.value.place
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "absent.npz")
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path)
