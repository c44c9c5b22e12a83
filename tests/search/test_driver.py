"""A run that goes on with a study that changed: who hears of it, and what is kept."""

import pytest

import tricksearch
from tricksearch.contract import InputError, discover
from tricksearch.search.driver import run_study
from tricksearch.search.observer import Observer
from tricksearch.store.changed_data import note_data
from tricksearch.store.folder import held_folder, open_store, read_records
from tricksearch.store.run import StoredRun
from tricksearch.trial.data import load_data


class Heard:
    def __init__(self):
        self.said = []

    def begins(self, study, records, workers):
        self.said.append(("begins", len(records)))

    def changed(self, changes, outside):
        self.said.append(("changed", list(changes), outside))

    def entered(self, phase, done, total):
        pass

    def started(self, job):
        raise AssertionError("no trial is left to run")

    def recorded(self, records):
        raise AssertionError("no trial is left to run")

    def ended(self, why):
        pass


def test_a_changed_study_is_said_once_and_keeps_its_records(tmp_path, make_study, make_record):
    folder = tmp_path / "run"
    folder.mkdir()
    study = make_study(tricks=["left", "solo"], search={"trials": 3})
    store = open_store(folder, study, discover(study.plugins))
    for number, tricks in enumerate([{}, {"left": {"factor": 1.5}}, {"solo": {"kind": "a"}}]):
        phase = "search" if number else "baseline"
        store.add([make_record(number, study.recipe(tricks), phase=phase, validation_images=270, latency_runs=9)])
    before = store.records()
    note_data(store, load_data(study.data))
    store.close()

    changed = make_study(tricks={"left": {"factor": [0.5, 1.0]}, "right": None, "solo": None}, search={"trials": 3})
    first, second = Heard(), Heard()
    assert run_study(changed, folder, first, local=True) == before
    words = ["left.factor was [0.5, 2.0] and is [0.5, 1.0]", "right was added"]
    assert first.said == [("begins", 3), ("changed", words, 1)]
    run_study(changed, folder, second, local=True)
    assert second.said == [("begins", 3)]
    assert len(read_records(folder)) == 3


SIMULATED = {"trial": "simulated", "simulation": {"measures": {}}, "tricks": ["left", "solo"]}


class Interrupts(Observer):
    """Interrupts the run when its second trial is stored."""

    def recorded(self, records):
        if records[0].trial == 1:
            raise KeyboardInterrupt


def test_what_follows_from_the_records_is_written_while_the_folder_is_held(tmp_path, make_study):
    seen = []

    def at_end():
        with pytest.raises(InputError, match="another run is using this folder"), held_folder(tmp_path / "run"):
            pass
        seen.append(len(read_records(tmp_path / "run")))

    study = make_study(**SIMULATED, search={"trials": 4})
    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path / "run", Interrupts(), local=True, at_end=at_end)
    assert len(seen) == 1, "after an interrupt too"
    records = run_study(study, tmp_path / "run", Observer(), local=True, at_end=at_end)
    assert seen[1] == len(records)


def test_an_interrupt_is_not_hidden_by_tables_that_cannot_be_written(tmp_path, make_study):
    def fails():
        raise OSError("no space")

    with pytest.raises(KeyboardInterrupt):
        run_study(make_study(**SIMULATED), tmp_path / "run", Interrupts(), local=True, at_end=fails)


def test_an_interrupt_before_the_folder_is_held_passes_through(tmp_path, make_study, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tricksearch.search.driver.check_starts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tricksearch.run(make_study(**SIMULATED), out=tmp_path / "run", local=True)
    assert not (tmp_path / "run").exists()


def test_a_budget_counts_what_was_set_aside(tmp_path, make_study):
    study = make_study(**SIMULATED, train={"epochs": 10}, variants="none", search={"trials": 9, "epochs": 30})
    records = run_study(study, tmp_path / "run", Observer(), local=True)
    assert sum(record.spent_epochs for record in records) == 30
    with StoredRun.open(tmp_path / "run") as run:
        run.store.set_aside(records[1:], {})
    assert len(run_study(study, tmp_path / "run", Observer(), local=True)) == 1, "the 30 epochs are used up"
