"""A run that an earlier version left: opened, reported, gone on with. It told tricks by the text of their files."""

import sqlite3
from pathlib import Path

import pytest
import yaml

import tricksearch
from tricksearch.study.study import load_study

DUMP = Path(__file__).with_name("earlier_run.sql")
STUDY = {
    "name": "earlier",
    "trial": "simulated",
    "simulation": {
        "measures": {"accuracy": {"base": 80, "sd": 1, "effects": {"mixup": 1}}, "latency_ms": {"base": 2, "sd": 1}}
    },
    "tricks": ["mixup", "pruning"],
}


@pytest.fixture
def earlier(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with sqlite3.connect(folder / "store.db") as connection:
        connection.executescript(DUMP.read_text())
    return folder


def go_on(folder, trials):
    path = folder.parent / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"search": {"trials": trials}}))
    return tricksearch.run(load_study(path), out=folder, local=True)


def test_it_opens_with_every_record(earlier):
    run = tricksearch.open(earlier)
    assert run.records()["id"].tolist() == ["0", "1", "2", "3", "3.1"]
    assert run.best().id == "3.1"
    assert run.best().accuracy == pytest.approx(81.58, abs=0.005)
    assert set(run.front()["id"]) == {"3", "3.1"}


def test_it_goes_on_and_keeps_what_it_has(earlier):
    before = tricksearch.open(earlier).records()
    run = go_on(earlier, 6)
    after = run.records()
    assert sorted(after["trial"].unique()) == [0, 1, 2, 3, 4, 5]
    kept = after[after["trial"] < 4]
    assert kept["accuracy"].tolist() == before["accuracy"].tolist()
    assert (earlier / "report.html").is_file()
    assert go_on(earlier, 6).records()["id"].tolist() == after["id"].tolist(), "nothing is left to run"
