"""A run that an earlier version left: opened, reported, gone on with. It told tricks by the text of their files."""

import sqlite3
from pathlib import Path

import pytest
import yaml

import tricksearch
from tricksearch.records.recipe import Recipe
from tricksearch.records.settings import LatencySettings
from tricksearch.store.facts import STUDY as STORED_STUDY
from tricksearch.store.store import Store
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
    """Go on with it; the code of some of its tricks computes something else today, on a few processors and nets."""
    path = folder.parent / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"search": {"trials": trials}}))
    return tricksearch.run(load_study(path), out=folder, local=True, changed_tricks="keep")


def test_it_opens_with_every_record(earlier):
    run = tricksearch.open(earlier)
    assert run.records()["id"].tolist() == ["0", "1", "2", "3", "3.1"]
    assert run.best().id == "3.1"
    assert run.best().accuracy == pytest.approx(81.58, abs=0.005)
    assert set(run.front()["id"]) == {"3", "3.1"}


def test_its_latencies_are_told_though_they_were_taken_in_another_way(earlier):
    """They have settings that are gone, and neither an interval nor a ratio to the plain net's file."""
    run = tricksearch.open(earlier)
    store = Store.at(earlier / "store.db")
    records = store.records()
    store.close()
    assert len(records) == 5
    for record in records:
        assert record.recipe["latency"]["blocks"] == 5
        assert Recipe.model_validate(record.recipe).latency == LatencySettings()
        assert record.latency_ms == pytest.approx(2.0, abs=0.2)
        assert record.latency_error is record.value("latency_ratio") is None
        assert (record.graph, record.timing, record.timed_again) == ("", {}, {})
    assert run.records()["latency_ms"].notna().all()
    run.write()
    assert "2.0" in (earlier / "report.html").read_text()


def test_a_recipe_of_it_is_the_same_recipe_today(earlier):
    """Else the baseline, and whatever the search proposes again, would run once more."""
    after = go_on(earlier, 6).records()
    assert (after["phase"] == "baseline").sum() == 1


def test_it_goes_on_and_keeps_what_it_has(earlier):
    before = tricksearch.open(earlier).records()
    run = go_on(earlier, 6)
    after = run.records()
    assert sorted(after["trial"].unique()) == [0, 1, 2, 3, 4, 5]
    kept = after[after["trial"] < 4]
    assert kept["accuracy"].tolist() == before["accuracy"].tolist()
    assert (earlier / "report.html").is_file()
    assert go_on(earlier, 6).records()["id"].tolist() == after["id"].tolist(), "nothing is left to run"


def test_a_run_whose_trials_asked_for_several_gpus_opens(earlier):
    """Which was allowed, and is refused today."""
    store = Store.at(earlier / "store.db")
    plain = store.fact(STORED_STUDY)
    store.put_fact(STORED_STUDY, plain | {"search": plain["search"] | {"gpus": 2.0}})
    store.close()
    run = tricksearch.open(earlier)
    assert run.study.search.gpus == 1.0
    run.write()
