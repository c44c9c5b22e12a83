import struct

import numpy as np
import pytest
from PIL import Image

from tricksearch.contract import InputError
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data import load_data

RNG = np.random.default_rng(0)


def write(folder, count, mode="RGB", size=(12, 10), suffix=".png"):
    """`count` random images; their arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = []
    for number in range(count):
        shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
        array = RNG.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(array, mode="RGB" if mode == "RGB" else "L").save(folder / f"{number}{suffix}")
        arrays.append(array)
    return arrays


def load(root, **more):
    return load_data(DataSettings(name="image_folder", root=str(root), **more))


def as_set(*splits):
    return {
        (image.numpy().tobytes(), int(label))
        for each in splits
        for image, label in zip(each.pixels, each.labels, strict=True)
    }


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_class_folders_are_read_exactly_and_split_in_three(tmp_path, mode, channels):
    expected = set()
    for label, name in enumerate(("ant", "bee", "cat")):
        for array in write(tmp_path / name, 8, mode):
            expected.add((array.reshape(10, 12, channels).transpose(2, 0, 1).tobytes(), label))
    (tmp_path / "notes.txt").write_text("not a class")
    (tmp_path / "ant" / "notes.txt").write_text("not an image")
    (tmp_path / ".cache").mkdir()
    data = load(tmp_path)
    assert data.classes == ("ant", "bee", "cat")
    assert data.augment == "flip_crop"
    assert data.train.pixels.shape[1:] == (channels, 10, 12)
    assert as_set(data.train, data.validation, data.test) == expected


def test_official_splits_are_used_as_they_are(tmp_path):
    for part, count in (("train", 6), ("val", 3), ("test", 2)):
        for name in "ab":
            write(tmp_path / part / name, count)
    data = load(tmp_path)
    assert [len(each) for each in (data.train, data.validation, data.test)] == [12, 6, 4]
    assert data.classes == ("a", "b")
    (tmp_path / "val").rename(tmp_path / "validation")
    assert len(load(tmp_path).validation) == 6


def test_two_folders_for_one_split_are_an_error(tmp_path):
    for part in ("train", "val", "validation"):
        write(tmp_path / part / "a", 4)
    with pytest.raises(InputError, match=r"'val' and 'validation' both claim to be the validation split.*Keep one"):
        load(tmp_path)


def test_a_class_called_train_is_a_class(tmp_path):
    for name in ("bus", "train"):
        write(tmp_path / name, 4)
    assert load(tmp_path).classes == ("bus", "train")


def test_one_colour_image_makes_all_rgb_and_every_suffix_is_read(tmp_path):
    for name in "ab":
        for place, suffix in enumerate((".jpg", ".JPEG", ".bmp")):
            folder = tmp_path / name
            write(folder, 1, "L", suffix=suffix)
            (folder / f"0{suffix}").rename(folder / f"x{place}{suffix}")
    assert load(tmp_path).train.pixels.shape[1] == 1
    write(tmp_path / "b", 1, suffix=".webp")
    Image.new("RGBA", (12, 10), (255, 0, 0, 255)).save(tmp_path / "a" / "red.png")
    data = load(tmp_path)
    assert len(data.train) + len(data.validation) + len(data.test) == 8
    assert data.train.pixels.shape[1] == 3
    red = np.zeros((3, 10, 12), np.uint8)
    red[0] = 255
    assert (red.tobytes(), 0) in as_set(data.train, data.validation, data.test)


def test_images_of_several_sizes_need_a_size(tmp_path):
    write(tmp_path / "a", 4)
    write(tmp_path / "b", 4, size=(9, 7))
    with pytest.raises(InputError, match=r"differ in size.*12x10.*9x7.*data\.size"):
        load(tmp_path)
    assert load(tmp_path, size=8).train.pixels.shape[1:] == (3, 8, 8)


def broken_png(tmp_path):
    path = tmp_path / "a" / "0.png"
    path.write_bytes(path.read_bytes()[:120])
    return path, "cannot be read"


def no_image(tmp_path):
    path = tmp_path / "b" / "1.png"
    path.write_text("text")
    return path, "cannot be read"


def broken_header(tmp_path):
    path = tmp_path / "b" / "1.png"
    path.write_bytes(path.read_bytes()[:16] + struct.pack(">II", 0, 5) + path.read_bytes()[24:])
    return path, "cannot be read"


def sixteen_bits(tmp_path):
    path = tmp_path / "b" / "deep.png"
    Image.fromarray(np.full((10, 12), 40000, np.uint16)).save(path)
    return path, "pixels of mode 'I;16'"


def empty_class(tmp_path):
    (tmp_path / "c").mkdir()
    return tmp_path / "c", "holds no image"


def only_one_class(tmp_path):
    (tmp_path / "b").rename(tmp_path / ".b")
    return tmp_path, "only one class, 'a'"


def no_class_folder(tmp_path):
    for name in "ab":
        (tmp_path / name).rename(tmp_path / f".{name}")
    write(tmp_path, 2)
    return tmp_path, "holds no class folder"


def too_few(tmp_path):
    (tmp_path / "b" / "0.png").unlink()
    (tmp_path / "b" / "1.png").unlink()
    return tmp_path, "class 'b' has 2 images, too few for 3 splits"


def unknown_test_class(tmp_path):
    inner = tmp_path / "train"
    inner.mkdir()
    for name in "ab":
        (tmp_path / name).rename(inner / name)
    write(tmp_path / "test" / "z", 1)
    return tmp_path / "test" / "z", "no training folder for class 'z'"


@pytest.mark.parametrize(
    "damage",
    [
        broken_png,
        no_image,
        broken_header,
        sixteen_bits,
        empty_class,
        only_one_class,
        no_class_folder,
        too_few,
        unknown_test_class,
    ],
)
def test_a_folder_that_cannot_be_used_is_named(tmp_path, damage):
    for name in "ab":
        write(tmp_path / name, 4)
    load(tmp_path)
    place, message = damage(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path)
    assert caught.value.place == str(place)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="is no folder") as caught:
        load(tmp_path / "absent")
    assert caught.value.place == str(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no class folder"):
        load(tmp_path)
