"""An exported folder runs without us, with the accuracy of its record, and refuses what is no image."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.ship.shipped import make_run, validation
from tricksearch.records.settings import DataSettings
from tricksearch.ship import predict_template as predict
from tricksearch.ship.export import export_run
from tricksearch.trial.data.folder import read
from tricksearch.trial.data.resize import resized


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The plain record and the other one, exported."""
    run, where = make_run(tmp_path_factory.mktemp("run")), tmp_path_factory.mktemp("exported")
    return {each: export_run(run, each, where / f"no {each}").exported for each in ("0", "1")}


# Refuses what is not there in a fresh environment with requirements.txt alone, and then runs predict.py.
FRESH = """
import runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"tricksearch", "tricksearch_plugins", "torch", "PIL", "onnx", "yaml", "pydantic"}:
            raise ModuleNotFoundError(f"No module named '{name}'")

sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_predict(folder, *arguments, cwd):
    command = [sys.executable, "-I", "-c", FRESH, str(folder / "predict.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize("record", ["0", "1"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_predict_needs_only_numpy_and_the_runtime_and_gives_the_accuracy_of_the_record(
    exported, tmp_path, record, dtype
):
    pixels, labels = validation()
    images = pixels if dtype == "uint8" else pixels.astype(np.float32) / np.float32(255)
    np.save(tmp_path / "images.npy", images)
    moved = shutil.copytree(exported[record].folder, tmp_path / "moved here")
    done = run_predict(moved, "images.npy", "--time", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    *rows, timed = done.stdout.splitlines()
    guesses = np.array([int(row.split("\t")[1]) for row in rows])
    assert rows[2].startswith("images.npy[2]\t")
    assert {float(row.split("\t")[2]) > 0.1 for row in rows} == {True}
    assert float((guesses == labels).mean() * 100) == exported[record].record.accuracy
    assert timed.startswith("median ")


def test_the_second_runtime_is_the_one_that_ships(exported):
    plain, own = exported["0"], exported["1"]
    pixels, _ = validation()
    images = pixels[:9].astype(np.float32) / np.float32(255)
    gained = own.runtime.load(str(own.deployable.path), 1, "fp32", **own.runtime.options)(images)
    np.testing.assert_allclose(gained, 2 * plain.runtime.load(str(plain.deployable.path), 1, "fp32")(images), rtol=1e-5)
    assert [file.name for file in own.deployable.beside] == ["labels 'and' more.txt"]
    assert own.deployable.beside[0].read_text() == "beside"


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 1, 9, 8), np.uint8), "images of the shape (N, 1, 8, 8) are needed, got (2, 1, 9, 8)"),
        (np.zeros((0, 1, 8, 8), np.uint8), "got (0, 1, 8, 8)"),
        (np.full((1, 1, 8, 8), 255.0, np.float32), "floats must lie in [0, 1], got 255 to 255"),
        (np.full((1, 1, 8, 8), np.nan, np.float32), "nan"),
        (np.zeros((1, 1, 8, 8), np.int64), "int64"),
        (np.array([{}]), "allow_pickle"),
        (None, "nothing.npy"),
    ],
)
def test_predict_refuses_what_is_no_image(exported, tmp_path, images, words):
    path = tmp_path / "nothing.npy"
    if images is not None:
        np.save(path, images)
    done = run_predict(exported["0"].folder, path, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_predict_reads_an_image_as_the_data_set_would(exported, tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    for kind, shape in (("a", (8, 8, 3)), ("b", (21, 13, 3))):
        (tmp_path / "images" / kind).mkdir(parents=True)
        exif = Image.Exif()
        exif[0x0112] = 6  # a viewer turns it by a quarter
        image = Image.fromarray(random.integers(0, 256, shape, np.uint8))
        image.save(tmp_path / "images" / kind / "one.png", exif=exif)
    wanted = read(DataSettings(name="image_folder", root=str(tmp_path / "images"), size=8), print).train.pixels
    about = {"input": {"channels": 3, "height": 8, "width": 8}, "image_modes": ["RGB"], "classes": ["a", "b"]}
    monkeypatch.setattr(predict, "preprocessing", lambda: about)
    found = predict.read_images([tmp_path / "images" / kind / "one.png" for kind in "ab"])
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(predict.as_input(found), wanted.astype(np.float32) / np.float32(255))

    done = subprocess.run(
        [sys.executable, exported["0"].folder / "predict.py", tmp_path / "images" / "b" / "one.png"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'images' / 'b' / 'one.png'}\t")


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    size=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_resizing_is_that_of_the_data_sets(shape, size, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    exact = torch.nn.functional.interpolate(
        torch.from_numpy(pixels)[None].double(), (size, size), mode="bilinear", align_corners=False, antialias=True
    )[0].numpy()
    assert np.abs(predict.resized(pixels, size, size) - exact).max() <= 0.5 + 1e-9
    # The same but for values half-way between two levels, where float32 may round to the other one.
    assert np.abs(resized(torch.from_numpy(pixels)[None], size)[0].numpy() - exact).max() <= 0.5 + 1e-3
