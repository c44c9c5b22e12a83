"""What people have in their folders: other names of splits, EXIF, transparency, files that are none of the images."""

import struct

import numpy as np
import pytest
from PIL import Image

from tricksearch.contract import InputError
from tricksearch.records.settings import DataSettings
from tricksearch.trial.data import load_data


def load(root, **more):
    return load_data(DataSettings(name="image_folder", root=str(root), **more))


def fill(folder, count=4, suffix=".png", colour=(10, 200, 30)):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (6, 6), colour).save(folder / f"{number}{suffix}")


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "valid", "test"),
        ("Train", "Val", "Test"),
        ("training", "validation", "testing"),
        ("TRAIN", "dev", "TEST"),
    ],
)
def test_customary_names_of_splits_are_read(tmp_path, train, validation, test):
    for name, count in ((train, 6), (validation, 3), (test, 2)):
        for kind in "ab":
            fill(tmp_path / name / kind, count)
    data = load(tmp_path, validation=0.4)
    assert [len(images) for images in (data.train, data.validation, data.test)] == [12, 6, 4]
    assert data.origins == (
        f"the validation split is {tmp_path / validation}; data.validation is not used",
        f"the test split is {tmp_path / test}",
    )
    assert data.notes == ()


def test_where_a_split_is_held_out_is_told(tmp_path):
    for kind in "ab":
        fill(tmp_path / "train" / kind, 8)
        fill(tmp_path / "test" / kind)
    data = load(tmp_path)
    assert data.origins == (
        f"held out of {tmp_path / 'train'}: 0.15 for validation",
        f"the test split is {tmp_path / 'test'}",
    )


def test_a_split_folder_without_class_folders_is_an_error(tmp_path):
    for kind in "ab":
        fill(tmp_path / "train" / kind, 8)
    fill(tmp_path / "valid")
    with pytest.raises(InputError, match="holds no class folder") as caught:
        load(tmp_path)
    assert caught.value.place == str(tmp_path / "valid")


def oriented(picture, orientation):
    """The image as a camera stores it that was held so: a viewer shows `picture`."""
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    return (picture.transpose(back[orientation]) if orientation in back else picture), exif


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_images_are_turned_as_exif_says(tmp_path, suffix):
    shown = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    for kind in "ab":
        (tmp_path / kind).mkdir()
        for orientation in range(1, 9):
            stored, exif = oriented(Image.fromarray(shown), orientation)
            stored.save(
                tmp_path / kind / f"{orientation}{suffix}", exif=exif, **({"quality": 100} if suffix == ".jpg" else {})
            )
    data = load(tmp_path)
    assert data.train.pixels.shape[1:] == (3, 16, 24)
    for images in (data.train, data.validation, data.test):
        wrong = np.abs(images.pixels.numpy().astype(int) - shown.transpose(2, 0, 1)) > 40  # JPEG blurs the edges
        assert wrong.mean() < 0.05
    assert "14 images turned upright, as EXIF says" in data.notes


def test_a_photograph_with_a_preview_behind_it_is_one_image(tmp_path):
    for kind in "ab":
        (tmp_path / kind).mkdir()
        for number in range(4):
            preview = Image.new("RGB", (3, 3))
            Image.new("RGB", (6, 6), "red").save(
                tmp_path / kind / f"{number}.jpg", "MPO", save_all=True, append_images=[preview]
            )
    assert len(load(tmp_path).train) == 4


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png"])
def test_a_file_of_several_images_is_an_error(tmp_path, suffix):
    for kind in "ab":
        fill(tmp_path / kind)
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / "b" / f"many{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="holds 3 images, and one would be read") as caught:
        load(tmp_path)
    assert caught.value.place == str(tmp_path / "b" / f"many{suffix}")


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".gif", ".jfif", ".JPE"])
def test_every_customary_kind_of_image_file_is_read(tmp_path, suffix):
    for kind, colour in (("a", (255, 0, 0)), ("b", (0, 0, 255))):
        fill(tmp_path / kind)
        for number in range(4):
            image = Image.new("RGB", (6, 6), colour)
            image.save(tmp_path / kind / f"x{number}{suffix}", "JPEG" if suffix in (".jfif", ".JPE") else None)
    data = load(tmp_path)
    assert len(data.train) + len(data.validation) + len(data.test) == 16
    assert not any("not read" in note for note in data.notes)


def test_what_is_not_read_is_told(tmp_path):
    for kind in "ab":
        fill(tmp_path / kind)
        (tmp_path / kind / "more.heic").write_text("")
        fill(tmp_path / kind / "old")
        (tmp_path / kind / ".DS_Store").write_text("")
    (tmp_path / "a" / "read.txt").write_text("")
    (tmp_path / "labels.csv").write_text("")
    notes = load(tmp_path).notes
    assert "not read: 4 files (2 .heic, 1 .csv, 1 .txt)" in notes
    assert "not read: 2 folders (a/old, b/old)" in notes


def test_folders_beside_the_splits_that_are_not_read_are_told(tmp_path):
    for name in ("train", "test", "extra"):
        for kind in "ab":
            fill(tmp_path / name / kind)
    fill(tmp_path / "test")
    notes = load(tmp_path).notes
    assert "not read: 1 folder (extra)" in notes
    assert "not read: 4 files (4 .png)" in notes


def silhouettes(root):
    for kind, corner in (("disc", 2), ("square", 4)):
        (root / kind).mkdir()
        for number in range(6):
            alpha = np.zeros((8, 8), np.uint8)
            alpha[number % 3 : number % 3 + corner, 1:4] = 255
            image = np.concatenate([np.zeros((8, 8, 3), np.uint8), alpha[..., None]], axis=2)
            Image.fromarray(image).save(root / kind / f"{number}.png")


def test_images_that_show_something_in_their_transparency_alone_are_an_error_whose_remedy_helps(tmp_path):
    silhouettes(tmp_path)
    with pytest.raises(InputError, match="12 images show stands in the transparency alone") as caught:
        load(tmp_path)
    assert caught.value.place == str(tmp_path / "disc" / "0.png")
    first, second = caught.value.remedy.removeprefix("paint them onto a background: ").split(", then ")
    for path in tmp_path.glob("*/*.png"):
        exec(f"import PIL.Image\n{first}\n{second}", {"path": path})
    data = load(tmp_path)
    assert len(np.unique(data.train.pixels.numpy(), axis=0)) > 1


def test_transparency_that_hides_nothing_is_dropped_and_told(tmp_path):
    for kind in "ab":
        (tmp_path / kind).mkdir()
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 4), np.uint8)
            pixels[..., 3] = 255 if kind == "a" else 7
            Image.fromarray(pixels).save(tmp_path / kind / f"{number}.png")
    assert "transparency is dropped; 4 images with transparent pixels" in load(tmp_path).notes


def test_a_photograph_whose_other_tags_are_malformed_is_read(tmp_path):
    for kind in "ab":
        fill(tmp_path / kind, 8, ".jpg")
    width = struct.pack("<HHI4s", 0x0100, 2, 4, b"wid\0")  # a number that is text
    turned = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + width + turned + bytes(4)
    Image.new("RGB", (8, 4), (10, 200, 30)).save(tmp_path / "a" / "odd.jpg", exif=exif)
    assert "1 image turned upright, as EXIF says" in load(tmp_path, size=6).notes


def test_an_orientation_that_is_none_turns_nothing(tmp_path):
    for kind in "ab":
        fill(tmp_path / kind, 8, ".jpg")
    for number in (0, 9):
        exif = Image.Exif()
        exif[0x0112] = number
        Image.new("RGB", (6, 6), (10, 200, 30)).save(tmp_path / "a" / f"odd{number}.jpg", exif=exif)
    assert not [note for note in load(tmp_path).notes if "upright" in note]
