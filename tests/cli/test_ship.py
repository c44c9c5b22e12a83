"""`export`, `verify` and `cache` as a shell sees them: output, error output, exit code."""

import fcntl
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import yaml

from tests.cli.shell import in_new_interpreter, tricksearch
from tricksearch.cli.ship import parsed_size
from tricksearch.contract import InputError
from tricksearch.ship.folder import manifest
from tricksearch.store import facts
from tricksearch.store.run import cache_folder
from tricksearch.store.store import Store
from tricksearch.study.study import load_study
from tricksearch.trial.job import Job
from tricksearch.trial.run import run_trial

STUDY = {
    "data": {"name": "digits", "validation": 0.3, "test": 0.3, "train_images": 60, "validation_images": 150},
    "net": {"widths": [8], "blocks": 1},
    "train": {"epochs": 2, "batch_size": 20},
    "latency": {"seconds": 0.05, "precision": 0.5, "block_seconds": 0.001},
    "search": {"trials": 1},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a run of one trial in `run`, and its export in `out`."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "run").mkdir()
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    study = load_study(folder / "study.yaml")
    store = Store.at(folder / "run" / "store.db")
    store.put_fact(facts.STUDY, json.loads(study.model_dump_json()))
    store.put_fact(facts.SOURCES, {})
    cache = cache_folder(study, folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        # A latency is kept where nothing disturbed it, which on the machine that tests run on need not be so.
        patch.setattr("tricksearch.trial.measuring.stopwatch.Timing.reliable", True)
        store.add(run_trial(Job.of(study.base_recipe(), cache=cache, phase="baseline"), reraise=(Exception,)))
    store.close()
    done = tricksearch("export", "run", "--to", "out", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Exported record 0 to {folder / 'out'}" in done.stdout
    assert "made again" not in done.stdout
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """The same, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_an_export_is_verified(finished):
    done = in_new_interpreter("verify", "out", cwd=finished)
    assert done.stderr == ""
    rows = {line.split("  ")[0]: line.split() for line in done.stdout.splitlines()}
    assert rows["right images"][-1] == "agrees"
    assert rows["right images"][2:5] == rows["right images"][5:8]
    assert rows["right images"][4] == "150"
    # Another load of the machine may move the latency by more than it should; the verdict says so either way.
    agrees = rows["latency / baseline's"][-1] == "agrees"
    assert done.returncode == (0 if agrees else 1)
    assert ("It agrees with its record." in done.stdout) == agrees


def claim(folder, **changes):
    """Let an exported folder's record say something else, checksums and all."""
    body = json.loads((folder / "record.json").read_text())
    files = {name: folder / name for name in body.pop("files")}
    del body["check"]
    body["record"] |= changes
    (folder / "record.json").write_text(manifest(body, files))


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"latency_ratio": 1e-6}, 1, ["DIFFERS", "It differs from its record.", "25 % beyond"]),
        ({"latency_ratio": 1e6}, 0, ["faster", "It agrees with its record, and is faster here."]),
        ({"accuracy": 1.0}, 1, ["DIFFERS", "to the last image"]),
        (
            {"latency_ratio": 1e-6, "hardware": {"cpu": "another", "cores": 64}},
            0,
            ["not judged", "record: another, 64 cores", "On other hardware"],
        ),
    ],
)
def test_what_differs_is_said(copy, changes, code, words):
    claim(copy / "out", **changes)
    done = tricksearch("verify", "out", cwd=copy)
    assert (done.returncode, done.stderr) == (code, "")
    for each in words:
        assert each in done.stdout


def test_a_cache_is_shown_and_pruned_and_its_model_made_again(copy):
    shown = tricksearch("cache", "run", cwd=copy)
    assert shown.returncode == 0
    rows = [line.split()[:2] for line in shown.stdout.splitlines()[1:]]
    counts = {"baseline": 1, "compress": 1, "deploy": 1, "latency": 2, "score": 1, "train": 1}
    assert sorted(rows[:6]) == [[stage, str(count)] for stage, count in counts.items()]
    assert rows[6] == ["all", "7"]
    assert str(copy / "run" / "cache") in shown.stdout
    again = tricksearch("cache", "run/cache", cwd=copy)
    assert [line.split()[:2] for line in again.stdout.splitlines()[1:]][:7] == rows[:7]

    kept = tricksearch("cache", "run", "--keep", "5GB", cwd=copy)
    assert "Dropped 0 of the entries" in kept.stdout
    pruned = tricksearch("cache", "run/cache", "--keep", "0", cwd=copy)
    assert "Dropped 7 of the entries" in pruned.stdout
    assert not list((copy / "run" / "cache").glob("*/*/entry.json"))
    assert tricksearch("cache", "run/cache", cwd=copy).stdout.split()[-5:-2] == ["0", "0.00", "MB"]

    done = tricksearch("export", "run", "--to", "again", cwd=copy)
    assert (done.returncode, done.stderr) == (0, "")
    assert "made again: train, compress, deploy" in done.stdout
    assert (copy / "again" / "model.onnx").read_bytes() == (copy / "out" / "model.onnx").read_bytes()


def test_a_model_made_again_that_is_another_is_refused_with_both_numbers(copy):
    """As after a run on another processor: the store says what the cache no longer shows."""
    with sqlite3.connect(copy / "run" / "store.db") as store:
        (row,) = store.execute("select record from records").fetchone()
        record = json.loads(row)
        accuracy, record["accuracy"] = record["accuracy"], 99.0
        store.execute("update records set record = ?", [json.dumps(record)])
    tricksearch("cache", "run", "--keep", "0", cwd=copy)
    done = tricksearch("export", "run", "--to", "again", cwd=copy)
    assert done.returncode == 1
    text = " ".join(done.stderr.split())
    assert text.startswith("Failed: ")
    assert "99.0000 %" in text
    assert f"{accuracy:.4f} %" in text
    assert "Traceback" not in text
    assert not (copy / "again").exists()


BAD = [
    (["export", "nowhere"], ["nowhere", "store.db", "Name the folder of a run."]),
    (["export", "run", "--pick", "7"], ["there is no record '7'", "Known: 0."]),
    (["export", "run", "--pick", "latency_ms <= 1e-9"], ["no record keeps 'latency_ms <= 1e-9'", "record 0"]),
    (["export", "run", "--pick", "fastest"], ["'fastest' is no pick", "latency_ms <= 2"]),
    (["export", "run", "--to", "run"], ["no export wrote", "--to"]),
    (["export", "run", "--to", "study.yaml"], ["a file is in the way"]),
    (["verify", "run"], ["no exported folder", "tricksearch export"]),
    (["verify", "nowhere"], ["nowhere", "no exported folder"]),
    (["cache", "nowhere"], ["nowhere", "cannot be read"]),
    (["cache", "out"], ["neither a cache nor the folder of a run"]),
    (["cache", "run", "--keep", "5"], ["'5' is no size", "5GB"]),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_exits_with_2_and_says_what_is_wrong(finished, arguments, words):
    done = tricksearch(*arguments, cwd=finished)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("Error:") == 1
    assert "Traceback" not in done.stderr
    text = " ".join(done.stderr.split())
    for each in words:
        assert each in text


@pytest.mark.parametrize("name", ["model.onnx", "predict.py", "record.json"])
def test_a_damaged_export_is_bad_input(copy, name):
    (copy / "out" / name).write_bytes(b"{}")
    done = tricksearch("verify", "out", cwd=copy)
    assert done.returncode == 2
    assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_the_cache_of_a_run_that_goes_on_is_left_alone(copy):
    with open(copy / "run" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert tricksearch("cache", "run", cwd=copy).returncode == 0
        done = tricksearch("cache", "run", "--keep", "0", cwd=copy)
    assert done.returncode == 2
    assert "a run is using this folder" in done.stderr
    assert len(list((copy / "run" / "cache").glob("*/*/entry.json"))) == 7


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("5GB", 5 * 10**9), ("500 mb", 5 * 10**8), ("1.5KiB", 1536), ("10B", 10), ("0.5TB", 5 * 10**11)],
)
def test_a_size(text, size):
    assert parsed_size(text) == size


@pytest.mark.parametrize("text", ["", "5", "GB", "-1GB", "5 XB", "5GBs", "1e3MB", "5,5GB", "nan"])
def test_what_is_no_size(text):
    with pytest.raises(InputError, match="is no size"):
        parsed_size(text)


def test_the_help_names_the_commands_and_their_options(tmp_path):
    listed = tricksearch("--help", cwd=tmp_path).stdout
    for command, options in (("export", ["--pick", "--to", "knee"]), ("verify", []), ("cache", ["--keep", "500MB"])):
        assert command in listed
        said = tricksearch(command, "--help", cwd=tmp_path).stdout
        assert all(each in said for each in options)
