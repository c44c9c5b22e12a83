"""Exported folders: the record that is picked, what the folder says, and what is refused."""

import dataclasses
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.ship.shipped import make_run
from tricksearch.contract import InputError, TrialError
from tricksearch.records import hardware
from tricksearch.records.recipe import Recipe
from tricksearch.ship import export as shipping
from tricksearch.ship.export import export_run
from tricksearch.ship.folder import manifest, read_exported
from tricksearch.ship.verify import verify_folder
from tricksearch.store.changed_code import go_on
from tricksearch.store.facts import SOURCES
from tricksearch.store.run import StoredRun
from tricksearch.store.store import Store
from tricksearch.study.recipe_file import load_recipe
from tricksearch.trial import keys
from tricksearch.trial.cache import Cache
from tricksearch.trial.job import Job
from tricksearch.trial.run import run_trial


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def copy(run, tmp_path):
    """The run, to be changed."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """The plain record and the other one, exported."""
    where = tmp_path_factory.mktemp("exported")
    return {each: export_run(run, each, where / f"no {each}").exported for each in ("0", "1")}


def test_the_folder_says_what_it_is(run, exported):
    folder, record = exported["1"].folder, exported["1"].record
    assert {each.name for each in folder.iterdir()} == {
        "README.md", "predict.py", "preprocessing.json", "recipe.yaml", "record.json", "requirements.txt",
        "baseline.onnx", "model.onnx", "labels 'and' more.txt",
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
        claimed = dataclasses.replace(record, measures=record.measures | changes)
        changed = dataclasses.replace(exported["1"], record=claimed)
        return dataclasses.replace(found, exported=changed)

    one_image = 100 / record.validation_images
    assert not claims(accuracy=record.accuracy + one_image).agrees
    assert claims(latency_ratio=found.ratio * 1.2).agrees
    assert claims(latency_ms=record.latency_ms * 100).agrees, "milliseconds differ where the machine's speed does"
    assert (claims(latency_ratio=found.ratio / 100).slower, claims(latency_ratio=found.ratio / 100).agrees) == (
        1,
        False,
    )
    assert (claims(latency_ratio=found.ratio * 100).slower, claims(latency_ratio=found.ratio * 100).agrees) == (
        -1,
        True,
    )
    elsewhere = dataclasses.replace(claims(latency_ratio=found.ratio * 100), same_hardware=False)
    assert elsewhere.slower is None
    assert elsewhere.agrees
    exact = dataclasses.replace(found.timing, copies=(0.0, 0.0, 0.0))
    for ratio, slower in ((1.24, 0), (1.27, -1), (1 / 1.24, 0), (1 / 1.27, 1)):
        sure = dataclasses.replace(record, measures={**record.measures, "latency_ratio": ratio}, latency_low_ms=None)
        shipped = dataclasses.replace(exported["1"], record=sure)
        assert dataclasses.replace(found, exported=shipped, timing=exact).slower == slower


def test_a_folder_that_an_earlier_version_exported_is_verified_without_its_latency(exported, tmp_path):
    folder = Path(shutil.copytree(exported["1"].folder, tmp_path / "copy"))
    body = json.loads((folder / "record.json").read_text())
    files = {name: folder / name for name in body.pop("files") if name != "baseline.onnx"}
    del body["check"]
    (folder / "baseline.onnx").unlink()
    (folder / "record.json").write_text(manifest(body, files))
    compared = verify_folder(folder)
    assert compared.timing is None
    assert compared.slower is None
    assert compared.agrees


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


def test_what_another_process_made_is_found_as_it_was_measured(copy, monkeypatch):
    """The asking process sees another processor and no GPU, as the head of a cluster; the record is a GPU worker's."""
    real = shipping._read

    def on_a_gpu(folder, url=None):
        run = real(folder, url)
        records = [
            dataclasses.replace(each, recipe=each.recipe | {"train": each.recipe["train"] | {"device": "cuda"}})
            for each in run.records
        ]
        return dataclasses.replace(run, records=records)

    monkeypatch.setattr(shipping, "_read", on_a_gpu)
    monkeypatch.setattr(keys, "hardware", lambda: {"cpu": "another", "gpus": ["A100", "A100"]})
    notes = []
    shipped = export_run(copy, "1", copy / "out", notes.append)
    assert (shipped.made_again, notes) == ((), [])
    shutil.rmtree(copy / "cache" / "deploy")
    monkeypatch.setattr(shipping, "_read", real)
    assert export_run(copy, "1", copy / "again").made_again == ("deploy",), "and as much of it as is left"


def test_a_worker_s_view_of_the_gpus_is_no_other_hardware(exported, monkeypatch):
    machine = exported["0"].record.hardware | {"gpus": ["A100", "A100"]}
    monkeypatch.setattr(hardware, "hardware", lambda: machine)
    assert verify_folder(exported["0"].folder).same_hardware
    monkeypatch.setattr(hardware, "hardware", lambda: machine | {"cpu": "another"})
    assert not verify_folder(exported["0"].folder).same_hardware


def test_what_was_confirmed_is_what_ships(copy):
    """Fresh runs, whatever the search saw of their recipe, and the card gives their mean and the test images'."""
    with StoredRun.open(copy) as run:
        study, searched = run.study, run.records()[1]
        jobs = [
            Job.of(
                study.recipe(tricks), seed, cache=copy / "cache", trial=trial, phase="confirm", test=True, fresh=True
            )
            for trial, (seed, tricks) in enumerate(itertools.product((7, 8), ({}, searched.tricks)), start=2)
        ]
        records = [record for job in jobs for record in run_trial(job, reraise=(Exception,))]
        run.store.add(records)
    shipped = export_run(copy, "knee", copy / "out").exported
    assert (shipped.record.trial, shipped.record.phase) in {(2, "confirm"), (3, "confirm")}
    shipped = export_run(copy, f"latency_ms <= {searched.latency_ms * 1e6}", copy / "within").exported
    assert shipped.record.trial in (2, 3)
    shipped = export_run(copy, "3", copy / "third").exported
    card = (shipped.folder / "README.md").read_text()
    mean = (records[1].accuracy + records[3].accuracy) / 2
    assert "| measure | this model | mean of 2 fresh runs | plain baseline | difference of the mean |" in card
    assert f"| {mean:.2f} % |" in card
    assert f"The recipe (record {searched.id} of the search) was confirmed by 2 trainings with fresh seeds" in card
    assert f"On n = {records[1].test_images} test images this model has {records[1].test_accuracy:.2f} %" in card
    assert "flatter" not in card


@pytest.mark.parametrize("gone", ["", "score", "*"])
def test_a_model_that_is_not_the_one_measured_is_not_shipped(copy, monkeypatch, gone):
    """The record of a run on another machine, whose training gives another net here."""
    real = shipping._read

    def elsewhere(folder, url=None):
        run = real(folder, url)
        changed = [
            dataclasses.replace(each, measures=each.measures | {"accuracy": each.accuracy + 2 / 3})
            for each in run.records
        ]
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
    store.put_fact(SOURCES, {"own_runtime": "another"})
    store.close()
    with pytest.raises(InputError, match="code of 'own_runtime' has changed"):
        export_run(copy, "1")
    export_run(copy, "0")  # which has no part in it


def test_a_record_that_was_kept_when_its_trick_changed_is_refused(copy):
    """It counts as one of the code as it is now, but that code need not give its model."""
    store = Store.at(copy / "store.db")
    go_on(store, {"own_runtime": "code:of another"}, "keep")
    store.close()
    with pytest.raises(InputError, match=r"code of 'own_runtime' has changed.*set-aside"):
        export_run(copy, "1")
    export_run(copy, "0")


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
