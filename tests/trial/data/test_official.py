"""Official layouts, written by hand: IDX files and the pickles of CIFAR."""

import gzip
import os
import pickle
import socket
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from tricksearch.contract import InputError
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data import load_data

RNG = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, zipped: bool = True) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True)
    arrays = {}
    for prefix, count in (("train", 60), ("t10k", 20)):
        arrays[f"{prefix}-images-idx3-ubyte"] = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{prefix}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)
    for name, array in arrays.items():
        content = idx(array)
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)
    return arrays


def python2_pickle(rows: np.ndarray, labels: list[int], key: str) -> bytes:
    """The opcodes that Python 2 and numpy 1.x wrote into the releases: text as SHORT_BINSTRING, numpy.core."""

    def text(value: bytes) -> bytes:
        return (
            b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + len(value).to_bytes(4, "little") + value
        )

    def integer(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + integer(0) + integer(1) + b"tR(" + integer(3) + text(b"|")
    dtype += b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + integer(0) + b"t" + text(b"b") + b"tR("
    array += integer(1) + b"(" + integer(rows.shape[0]) + integer(rows.shape[1]) + b"t" + dtype + b"\x89"
    array += text(rows.tobytes()) + b"tb"
    marks = b"](" + b"".join(integer(label) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(key.encode()) + marks + b"u."


def write_cifar100(folder: Path) -> tuple[np.ndarray, list[int]]:
    folder.mkdir(parents=True)
    rows, labels = RNG.integers(0, 256, (40, 3072), dtype=np.uint8), [number % 4 for number in range(40)]
    (folder / "train").write_bytes(python2_pickle(rows, labels, "fine_labels"))
    (folder / "test").write_bytes(python2_pickle(rows[:8], labels[:8], "fine_labels"))
    meta = {"fine_label_names": ["apple", "baby", "bear", "bed"], "coarse_label_names": ["x"]}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    return rows, labels


def write_cifar10(folder: Path) -> np.ndarray:
    folder.mkdir(parents=True)
    rows = RNG.integers(0, 256, (60, 3072), dtype=np.uint8)
    for number in range(6):
        name = f"data_batch_{number + 1}" if number < 5 else "test_batch"
        content = {b"data": rows[number * 10 : number * 10 + 10], b"labels": [0, 1] * 5, b"filenames": [b"a.png"] * 10}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))  # as Python 3 repackages them
    (folder / "batches.meta").write_bytes(
        pickle.dumps({b"label_names": [b"cat", b"dog"], b"num_vis": 3072}, protocol=2)
    )
    return rows


def read(name: str, root: Path, **more):
    return load_data(DataSettings(name=name, root=str(root), download=False, **more))


def as_set(*splits) -> set[bytes]:
    return {image.numpy().tobytes() for split in splits for image in split.pixels}


@pytest.mark.parametrize(
    ("name", "folder", "augment"), [("mnist", "MNIST", "crop"), ("fashion_mnist", "FashionMNIST", "flip_crop")]
)
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("root", ["", "own", "own/raw"])
def test_idx_files_are_read_from_every_place(tmp_path, name, folder, augment, zipped, root):
    arrays = write_idx(tmp_path / folder / "raw", zipped)
    data = read(name, tmp_path / root.replace("own", folder), validation=0.2)
    assert data.augment == augment
    assert len(data.classes) == 10
    assert data.train.pixels.shape == (48, 1, 28, 28)
    assert data.train.pixels.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64
    assert len(data.validation) == 12
    assert as_set(data.train, data.validation) == {each.tobytes() for each in arrays["train-images-idx3-ubyte"]}
    assert np.array_equal(data.test.pixels[:, 0], arrays["t10k-images-idx3-ubyte"])
    assert np.array_equal(data.test.labels, arrays["t10k-labels-idx1-ubyte"])


def test_labels_stay_with_their_images(tmp_path):
    arrays = write_idx(tmp_path / "MNIST" / "raw")
    label_of = {
        image.tobytes(): label
        for image, label in zip(arrays["train-images-idx3-ubyte"], arrays["train-labels-idx1-ubyte"], strict=True)
    }
    data = read("mnist", tmp_path, train_images=20, validation_images=10, validation=0.3)
    for split, count in ((data.train, 20), (data.validation, 10)):
        assert len(split) == count
        assert all(
            label_of[image.numpy().tobytes()] == label for image, label in zip(split.pixels, split.labels, strict=True)
        )


@pytest.mark.parametrize("within", ["", "cifar-100-python"])
def test_cifar100_as_python_2_wrote_it(tmp_path, within):
    rows, labels = write_cifar100(tmp_path / "cifar-100-python")
    data = read("cifar100", tmp_path / within, validation=0.2)
    assert data.classes == ("apple", "baby", "bear", "bed")
    assert data.augment == "flip_crop"
    assert data.train.pixels.shape == (32, 3, 32, 32)
    assert np.array_equal(data.test.pixels.numpy().reshape(8, -1), rows[:8])
    assert data.test.labels.tolist() == labels[:8]
    assert as_set(data.train, data.validation) == {row.tobytes() for row in rows}


def test_cifar10_from_five_batches(tmp_path):
    rows = write_cifar10(tmp_path / "cifar-10-batches-py")
    data = read("cifar10", tmp_path, validation=0.2)
    assert data.classes == ("cat", "dog")
    assert as_set(data.train, data.validation) == {row.tobytes() for row in rows[:50]}
    assert as_set(data.test) == {row.tobytes() for row in rows[50:]}


class Malicious:
    def __init__(self, call, *arguments):
        self.call = call, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path, protocol):
    folder = tmp_path / "cifar-100-python"
    write_cifar100(folder)
    touched = tmp_path / "touched"
    attack = {b"data": Malicious(os.system, f"touch {touched}"), b"fine_labels": [0]}
    (folder / "train").write_bytes(pickle.dumps(attack, protocol=protocol))
    with pytest.raises(InputError, match=r"posix\.system|nt\.system") as caught:
        read("cifar100", tmp_path)
    assert caught.value.place == str(folder / "train")
    assert not touched.exists()
    pickle.loads((folder / "train").read_bytes())  # what an ordinary reader would have let happen
    assert touched.exists()


@pytest.mark.parametrize(
    "value",
    [Malicious(getattr, "a", "upper"), Malicious(eval, "1"), Malicious(np.fromfile, "x"), np.zeros((2, 3072), object)],
)
def test_nothing_but_arrays_of_bytes_is_built(tmp_path, value):
    write_cifar100(tmp_path / "cifar-100-python")
    path = tmp_path / "cifar-100-python" / "test"
    path.write_bytes(pickle.dumps({b"data": value, b"fine_labels": [0, 1]}, protocol=2))
    with pytest.raises(InputError, match="the file is refused") as caught:
        read("cifar100", tmp_path)
    assert caught.value.place == str(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "refused"),
        (b"no pickle", "refused"),
        (pickle.dumps([1, 2]), "holds no 'data'"),
        (pickle.dumps({"data": [1], "fine_labels": [1]}), "'data' is not an array"),
        (python2_pickle(np.zeros((2, 12), np.uint8), [0, 1], "fine_labels"), "'data' is not an array"),
        (python2_pickle(np.zeros((2, 3072), np.uint8), [0, 1], "labels"), "holds no 'fine_labels'"),
        (python2_pickle(np.zeros((2, 3072), np.uint8), [0, 1, 1], "fine_labels"), "2 images but 3 labels"),
        (
            python2_pickle(np.zeros((2, 3072), np.uint8), [0, 4], "fine_labels"),
            "labels out of range: 4 is not one of 0 to 3",
        ),
        (python2_pickle(np.zeros((2, 3072), np.uint8), [0, -1], "fine_labels"), "labels out of range: -1"),
        (python2_pickle(np.zeros((0, 3072), np.uint8), [], "fine_labels"), "no image"),
    ],
)
def test_a_damaged_cifar_file_is_named(tmp_path, content, message):
    write_cifar100(tmp_path / "cifar-100-python")
    path = tmp_path / "cifar-100-python" / "train"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read("cifar100", tmp_path)
    assert caught.value.place == str(path)


def test_a_pickle_cut_short_anywhere_is_an_input_error(tmp_path):
    write_cifar100(tmp_path / "cifar-100-python")
    path = tmp_path / "cifar-100-python" / "test"
    whole = path.read_bytes()
    for length in [*range(0, 200, 7), *range(200, len(whole), 1501), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            read("cifar100", tmp_path)


IMAGES = "train-images-idx3-ubyte"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, b"", "begins with nothing"),
        (IMAGES, b"\x00\x00\x08", "begins with 000008"),
        (IMAGES, idx(np.zeros(60)), "not with 00000803"),
        (IMAGES, idx(np.zeros((60, 28, 28)))[:9], "header is cut short"),
        (IMAGES, idx(np.zeros((60, 28, 28)))[:-1], "announces 47040 bytes and 47039 follow"),
        (IMAGES, idx(np.zeros((60, 28, 28))) + b"x", "announces 47040 bytes and 47041 follow"),
        (IMAGES, idx(np.zeros((59, 28, 28))), "59 images but 60 labels"),
        (IMAGES, idx(np.zeros((0, 28, 28))), "no image"),
        ("train-labels-idx1-ubyte", idx(np.full(60, 10)), "labels out of range: 10"),
        ("train-labels-idx1-ubyte", idx(np.arange(60) % 9), "class '9' has no training image"),
        ("t10k-labels-idx1-ubyte", b"\x00\x00\x08\x01\xff\xff\xff\xff", "announces 4294967295 bytes"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_idx_file_is_named(tmp_path, name, content, message, zipped):
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder, zipped)
    (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(InputError, match=message) as caught:
        read("mnist", tmp_path)
    assert str(folder) in caught.value.place


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:50], lambda raw: b"no gzip", lambda raw: raw[:30] + b"\xff" * 9 + raw[39:]]
)
def test_a_damaged_gzip_file_is_named(tmp_path, damage):
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder)
    path = folder / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match="damaged") as caught:
        read("mnist", tmp_path)
    assert caught.value.place == str(path)


def test_absent_files_are_listed_with_their_place(tmp_path):
    with pytest.raises(InputError, match=r"3 of the 3 files.*download is false.*train, test, meta into") as caught:
        read("cifar100", tmp_path)
    assert caught.value.place == str(tmp_path / "cifar-100-python")
    folder = tmp_path / "cifar-100-python"
    write_cifar100(folder)
    (folder / "meta").unlink()
    with pytest.raises(InputError, match=r"1 of the 3 files.*ut meta into"):
        read("cifar100", tmp_path)


def test_without_a_network_the_error_says_which_files_go_where(tmp_path, monkeypatch):
    seen = []

    def unreachable(*_, **__):
        seen.append(socket.getdefaulttimeout())
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setenv("TRICKSEARCH_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"cannot be fetched.*no route to host.*t10k-labels-idx1-ubyte.gz into"):
        load_data(DataSettings(name="mnist"))
    assert seen
    assert all(timeout is not None and timeout <= 30 for timeout in seen)
    assert socket.getdefaulttimeout() is None


def test_absent_files_are_fetched_by_torchvision_into_the_root(tmp_path, monkeypatch):
    def release(root, download):
        assert download
        write_cifar10(Path(root) / "cifar-10-batches-py")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", release)
    told = []
    data = load_data(DataSettings(name="cifar10", root=str(tmp_path / "new")), told.append)
    assert len(data.test) == 10
    assert any("fetching cifar10" in line for line in told)


@pytest.mark.parametrize(
    ("name", "shape", "classes"), [("fashion_mnist", (1, 28, 28), 10), ("cifar100", (3, 32, 32), 100)]
)
def test_the_real_release(name, shape, classes):
    root = os.environ.get("TRICKSEARCH_DATA")
    if not root:
        pytest.skip("set TRICKSEARCH_DATA to a folder that holds the official files")
    folder = {"fashion_mnist": "FashionMNIST", "cifar100": "cifar-100-python"}[name]
    if not (Path(root) / folder).is_dir():
        pytest.skip(f"{root} holds no {folder}")
    data = read(name, Path(root))
    assert data.train.pixels.shape[1:] == shape
    assert len(data.test) == 10000
    assert len(data.train) + len(data.validation) in (50000, 60000)
    assert torch.bincount(data.test.labels).tolist() == [10000 // classes] * classes
