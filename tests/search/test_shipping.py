"""Exported folders: the record that is picked, a folder that runs without us, and what is refused."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tricksearch.contract import InputError, TrialError, discover, source_hash
from tricksearch.search import predict, shipping
from tricksearch.search.exported import manifest, read_exported
from tricksearch.search.loop import cache_folder
from tricksearch.search.shipping import export_run
from tricksearch.search.store import Store
from tricksearch.search.study import load_study
from tricksearch.search.verify import verify_folder
from tricksearch.trial.cache import Cache
from tricksearch.trial.data import load_data
from tricksearch.trial.data.folder import read
from tricksearch.trial.data.resize import resized
from tricksearch.trial.document import load_recipe
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.run import run_trial
from tricksearch.trial.settings import DataSettings

OWN = '''"""plain_name: {what}.

Paper: none
Use when: testing.
Avoid when: not testing.
Cost: none.
"""
from dataclasses import dataclass, replace
from typing import Annotated
import shutil
from tricksearch import Choice, Runtime, Trick


def {load}(path, threads, precision, gain):
    """A `load` with a name that predict.py has too, and an option."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: gain * session.run(None, {{name: images}})[0]


@dataclass(frozen=True)
class Own(Trick):
    """Runs a file of two parts with a runtime of its own."""
    text: Annotated[str, Choice("a|b `c` <i>", "z")] = "a|b `c` <i>"

    def deploy(self, deployable, bench):
        beside = bench.folder / "labels 'and' more.txt"
        beside.write_text("beside")
        return replace(deployable, beside=(beside,))

    def runtime(self, runtime, bench):
        return Runtime("It's *own* <runtime>", {load}, ("onnxruntime",), options={{"gain": 2.0}}, threads=1)
'''
STUDY = {
    "name": "digits & co",
    "data": {"name": "digits", "validation": 0.3, "test": 0.3, "train_images": 60, "validation_images": 150},
    "net": {"widths": [8], "blocks": 1},
    "train": {"epochs": 2, "batch_size": 20},
    "latency": {"blocks": 3, "block_seconds": 0.01},
    "search": {"trials": 3},
    "plugins": ["own"],
    "tricks": {"own_runtime": "always"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two trials, the plain one and one with a runtime and a second file of its own."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "own").mkdir()
    (folder / "own" / "own_runtime.py").write_text(OWN.format(what="a runtime of its own", load="predict"))
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    study = load_study(folder / "study.yaml")
    cache = cache_folder(study, folder)
    store = Store.at(folder / "store.db")
    tricks = discover(study.plugins)
    store.put_fact("study", json.loads(study.model_dump_json()))
    store.put_fact("sources", {"own_runtime": source_hash(tricks["own_runtime"])})
    own = study.recipe({"own_runtime": {"text": "a|b `c` <i>"}})
    for number, recipe in enumerate((study.base_recipe(), own)):
        phase = "search" if number else "baseline"
        store.add(run_trial(recipe, 0, cache=cache, number=number, phase=phase, reraise=(Exception,)))
    store.close()
    return folder


@pytest.fixture
def copy(run, tmp_path):
    """The run, to be changed."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """The plain record and the other one, exported."""
    where = tmp_path_factory.mktemp("exported")
    return {each: export_run(run, each, where / f"no {each}").exported for each in ("0", "1")}


def validation():
    data = load_data(Recipe.model_validate({"data": STUDY["data"]}).data)
    return data.validation.pixels.numpy(), data.validation.labels.numpy()


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
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


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
        Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(tmp_path / "images" / kind / "one.png")
    wanted = read(DataSettings(name="image_folder", root=str(tmp_path / "images"), size=8), print).train.pixels
    about = {"input": {"channels": 3, "height": 8, "width": 8}, "image_modes": ["RGB"], "classes": ["a", "b"]}
    monkeypatch.setattr(predict, "about", lambda: about)
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


def test_the_folder_says_what_it_is(run, exported):
    folder, record = exported["1"].folder, exported["1"].record
    assert {each.name for each in folder.iterdir()} == {
        "README.md", "predict.py", "preprocessing.json", "recipe.yaml", "record.json", "requirements.txt",
        "model.onnx", "labels 'and' more.txt",
    }  # fmt: skip
    recipe, seed = load_recipe(folder / "recipe.yaml")
    assert (recipe, seed) == (Recipe.model_validate(record.recipe), record.seed)
    assert record.trial == 1

    pins = (folder / "requirements.txt").read_text().split()
    assert pins == [f"numpy=={np.__version__}", f"onnxruntime=={onnxruntime.__version__}"]
    said = json.loads((folder / "preprocessing.json").read_text())
    assert [said["input"][side] for side in ("channels", "height", "width")] == [1, 8, 8]
    assert said["classes"] == [str(digit) for digit in range(10)]
    card = (folder / "README.md").read_text()
    for words in (
        f"{record.accuracy:.2f} %", f"n = {record.validation_images} validation images", f"n = {record.latency_runs}",
        "2 trials gave 2 records", "flatter", "It's \\*own\\* \\<runtime\\>", "digits \\& co", "plain baseline",
        record.hardware["cpu"].split("(")[0], "own_runtime",
    ):  # fmt: skip
        assert words in card, words
    assert "<i>" not in card.replace("\\<i\\>", "")
    assert {line.count("|") - line.count("\\|") for line in card.splitlines() if "own_runtime" in line[:20]} == {3}
    assert "tricksearch" not in "".join(
        line for line in (folder / "predict.py").read_text().splitlines() if "import" in line
    )


def test_an_exported_folder_is_verified_and_a_wrong_record_is_not(exported, tmp_path, monkeypatch):
    found = verify_folder(exported["1"].folder)
    assert found.accuracy_agrees
    assert found.scores.n == exported["1"].record.validation_images
    assert found.same_hardware
    assert found.other_versions == {}
    assert found.timing.runs > 10

    record = exported["1"].record

    def claims(**changes):
        changed = dataclasses.replace(exported["1"], record=dataclasses.replace(record, **changes))
        return dataclasses.replace(found, exported=changed)

    one_image = 100 / record.validation_images
    assert not claims(accuracy=record.accuracy + one_image).agrees
    here = found.timing.median_ms
    assert claims(latency_ms=here * 1.1).agrees
    assert claims(latency_ms=here * 1.5).latency_agrees is False
    assert claims(latency_ms=here * 0.5).latency_agrees is False
    elsewhere = dataclasses.replace(claims(latency_ms=here * 5), same_hardware=False)
    assert elsewhere.latency_agrees is None
    assert elsewhere.agrees


def test_verify_refuses_other_validation_images(exported, tmp_path):
    folder = Path(shutil.copytree(exported["0"].folder, tmp_path / "copy"))
    body = json.loads((folder / "record.json").read_text())
    files = {name: folder / name for name in body.pop("files")}
    del body["check"]
    (folder / "record.json").write_text(manifest(body | {"validation": "0" * 32}, files))
    with pytest.raises(InputError, match="validation images are not those"):
        verify_folder(folder)


@pytest.mark.parametrize("name", ["model.onnx", "predict.py", "README.md", "record.json"])
@pytest.mark.parametrize("how", ["change", "cut", "delete"])
def test_a_damaged_folder_is_refused(exported, tmp_path, name, how):
    folder = Path(shutil.copytree(exported["0"].folder, tmp_path / "copy"))
    path = folder / name
    before = path.read_bytes()
    if how == "delete":
        path.unlink()
    else:
        half = len(before) // 2
        path.write_bytes(before[:half] + (b"" if how == "cut" else bytes([before[half] ^ 1]) + before[half + 1 :]))
    with pytest.raises(InputError, match="record.json" if name == "record.json" else name):
        read_exported(folder)


def test_a_record_that_names_files_elsewhere_is_refused(exported, tmp_path):
    folder = Path(shutil.copytree(exported["0"].folder, tmp_path / "copy"))
    (tmp_path / "outside").write_text("secret")
    body = json.loads((folder / "record.json").read_text())
    del body["check"], body["files"]
    (folder / "record.json").write_text(manifest(body, {"../outside": tmp_path / "outside"}))
    with pytest.raises(InputError, match="no file of this folder"):
        read_exported(folder)


def test_a_pruned_model_is_made_again_the_same(copy, exported):
    cache = Cache(copy / "cache")
    assert export_run(copy, "1", copy / "whole").made_again == ()
    cache.prune(0)
    notes = []
    shipped = export_run(copy, "1", copy / "again", notes.append)
    assert shipped.made_again == ("train", "compress", "deploy")
    assert {"train", "measure"} <= set(notes)
    for name in ("model.onnx", "predict.py"):
        assert (copy / "again" / name).read_bytes() == (exported["1"].folder / name).read_bytes()
    shutil.rmtree(cache.folder / "deploy")
    assert export_run(copy, "1", copy / "third").made_again == ("deploy",)


@pytest.mark.parametrize("gone", ["", "score", "*"])
def test_a_model_that_is_not_the_one_measured_is_not_shipped(copy, monkeypatch, gone):
    """The record of a run on another machine, whose training gives another net here."""
    real = shipping._read

    def elsewhere(folder):
        run = real(folder)
        changed = [dataclasses.replace(each, accuracy=each.accuracy + 2 / 3) for each in run.records]
        return dataclasses.replace(run, records=changed)

    monkeypatch.setattr(shipping, "_read", elsewhere)
    for stage in (copy / "cache").glob(gone) if gone else ():
        if stage.is_dir():
            shutil.rmtree(stage)
    accuracy = elsewhere(copy).records[0].accuracy
    with pytest.raises(TrialError) as error:
        export_run(copy, "0", copy / "out")
    assert f"{accuracy:.4f} %" in str(error.value)
    assert f"{accuracy - 2 / 3:.4f} %" in str(error.value)
    assert not (copy / "out").exists()


def test_a_trick_that_changed_since_the_run_is_refused(copy):
    store = Store.at(copy / "store.db")
    store.put_fact("sources", {"own_runtime": "another"})
    store.close()
    with pytest.raises(InputError, match="source of 'own_runtime' has changed"):
        export_run(copy, "1")
    export_run(copy, "0")  # which has no part in it


def test_the_target(copy, tmp_path):
    first = export_run(copy, "0").exported.folder
    assert first == copy / "export" / "0"
    before = {each.name: each.read_bytes() for each in first.iterdir()}
    assert export_run(copy, "1", first).exported.record.trial == 1  # an earlier export gives way, whole
    assert {each.name for each in first.iterdir()} != set(before)
    (first / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="no export wrote"):
        export_run(copy, "0", first)
    assert (first / "notes.txt").read_text() == "mine"

    (tmp_path / "file").write_text("mine")
    for target, words in (
        (tmp_path / "file", "a file is in the way"),
        (tmp_path / "file" / "below", "cannot be written"),
        (copy, "no export wrote"),
    ):
        with pytest.raises(InputError, match=words):
            export_run(copy, "0", target)
    (tmp_path / "empty").mkdir()
    assert export_run(copy, "0", tmp_path / "empty").exported.record.trial == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["copy", "empty", "file"]


def test_an_export_that_fails_leaves_the_earlier_one(copy, monkeypatch):
    folder = export_run(copy, "0").exported.folder
    before = {each.name: each.read_bytes() for each in folder.iterdir()}

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        export_run(copy, "0")
    monkeypatch.undo()
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda path, to: full(0) if path.name.endswith(".new") else rename(path, to))
    with pytest.raises(InputError, match="No space left"):
        export_run(copy, "0")
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
    assert [each.name for each in folder.parent.iterdir()] == ["0"]


def test_what_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"store\.db"):
        export_run(tmp_path / "nowhere")
    Store.at(tmp_path / "store.db").close()
    with pytest.raises(InputError, match="holds no study"):
        export_run(tmp_path)
