"""The command line as a shell sees it: output, error output, exit code."""

from pathlib import Path

import pytest
import yaml

from tests.cli.shell import in_new_interpreter, tricksearch
from tricksearch.contract import discover

ROOT = Path(__file__).parents[2]
STUDY = {
    "data": {"name": "digits", "validation": 0.3, "test": 0.3, "train_images": 40},
    "net": {"widths": [8], "blocks": 1},
    "train": {"epochs": 1, "batch_size": 20},
    "latency": {"seconds": 0.05, "precision": 0.5, "block_seconds": 0.001},
    "tricks": {"label_smoothing": None, "cosine": "always"},
    "search": {"trials": 4, "startup": 2},
}


@pytest.fixture
def study(tmp_path):
    def write(**changes):
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(STUDY | changes))
        return path

    return write


def assert_bad_input(done, *words):
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Error:") == 1
    text = " ".join(done.stderr.split())
    for word in words:
        assert word in text, text


def test_a_study_runs_without_ray_and_leaves_what_it_says(tmp_path, study):
    done = in_new_interpreter("run", study(), "--local", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "[4/4]" in done.stdout
    assert "(plain baseline)" in done.stdout.splitlines()[1]
    assert max(len(line) for line in done.stdout.splitlines() if "trial" not in line) <= 80
    folder = tmp_path / "runs" / "study"
    for name in ("store.db", "records.parquet", "front.csv", "best.yaml", "study.resolved.yaml", "report.html"):
        assert (folder / name).stat().st_size > 0

    import pandas as pd

    records = pd.read_parquet(folder / "records.parquet")
    wanted = [
        "trial",
        "phase",
        "status",
        "reason",
        "seed",
        "recipe",
        "accuracy",
        "f1",
        "latency_ms",
        "latency_p95_ms",
        "params",
        "macs",
        "file_bytes",
        "train_seconds",
    ]
    assert set(wanted) <= set(records.columns)
    assert list(records.phase) == ["baseline", "search", "search", "search"]
    assert records.recipe.is_unique
    assert records.accuracy.between(0, 100).all()
    assert (records.latency_p95_ms >= records.latency_ms).all()

    # The best recipe runs as it stands, and so does the resolved study, whose trials are all there.
    again = tricksearch("trial", folder / "best.yaml", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")
    assert "top-1 accuracy" in again.stdout
    resumed = tricksearch("run", folder / "study.resolved.yaml", "--out", folder, "--local", "--quiet", cwd=tmp_path)
    assert (resumed.returncode, resumed.stdout, resumed.stderr) == (0, "", "")

    # A folder holds one study.
    before = (folder / "store.db").read_bytes()
    other = tricksearch("run", study(train={"epochs": 2}), "--local", cwd=tmp_path)
    assert_bad_input(other, "another study", "train.epochs is 1 there and 2 here")
    assert (folder / "store.db").read_bytes() == before

    # Its report is written again from the store alone.
    (folder / "report.html").unlink()
    assert tricksearch("report", folder, cwd=tmp_path).returncode == 0
    assert (folder / "report.html").stat().st_size > 0


def test_bad_input_is_said_before_anything_trains(tmp_path, study):
    assert_bad_input(in_new_interpreter("run", tmp_path / "absent.yaml", cwd=tmp_path), "absent.yaml")
    assert_bad_input(tricksearch("run", study(trails=3), cwd=tmp_path), "study.yaml, line", "trails")
    assert_bad_input(tricksearch("check", study(data={"name": "cifar100", "root": str(tmp_path), "download": False}),
                                 cwd=tmp_path), "cifar-100-python")  # fmt: skip
    assert_bad_input(tricksearch("run", study(), "--local", "--workers", "2", cwd=tmp_path), "--local")
    assert_bad_input(tricksearch("report", tmp_path, cwd=tmp_path), "store.db")
    assert not (tmp_path / "runs").exists()


def test_usage_errors_exit_with_2(tmp_path):
    for arguments in (["run"], ["run", "x.yaml", "--trials", "0"], ["dance"]):
        done = tricksearch(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert done.stderr


def test_debug_shows_where(tmp_path):
    assert "Traceback" in tricksearch("check", "absent.yaml", "--debug", cwd=tmp_path).stderr


def test_a_run_in_which_nothing_finishes_fails(tmp_path, study):
    plugin = tmp_path / "own" / "broken.py"
    plugin.parent.mkdir()
    plugin.write_text(
        '"""broken: divide by nothing.\n\nPaper: none\nUse when: testing.\nAvoid when: always.\nCost: all.\n"""\n'
        "from dataclasses import dataclass\nfrom tricksearch import Trick\n\n"
        "@dataclass(frozen=True)\nclass Broken(Trick):\n"
        "    def loss(self, loss, bench):\n        raise ZeroDivisionError('by nothing')\n"
    )
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"plugins": ["own"], "tricks": {"broken": {}}, "data": STUDY["data"]}))
    done = tricksearch("trial", recipe, cwd=tmp_path)
    assert done.returncode == 1
    assert "ZeroDivisionError: by nothing" in done.stderr
    assert "Traceback" not in done.stderr


def test_tricks_shows_every_trick_and_every_card(tmp_path):
    listed = tricksearch("tricks", cwd=tmp_path, columns=160)
    assert listed.returncode == 0
    for name in discover():
        assert any(line.startswith(name) for line in listed.stdout.splitlines())
    name = next(iter(discover()))
    shown = tricksearch("tricks", name, cwd=tmp_path)
    assert "hyperparameter" in shown.stdout
    assert "use when" in shown.stdout
    assert_bad_input(tricksearch("tricks", name + "x", cwd=tmp_path), f"'{name}'")


def test_doctor_finds_nothing_missing(tmp_path):
    done = in_new_interpreter("doctor", cwd=tmp_path)
    assert done.returncode == 0
    assert "Nothing is missing." in done.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "studies").glob("*.yaml")))
def test_the_studies_that_ship_are_valid(name):
    from tricksearch.study.study import load_study

    study = load_study(ROOT / "studies" / name)
    assert study.search.trials >= 30
    assert len(study.tricks) >= 7
    assert set(study.tricks) <= set(discover())
