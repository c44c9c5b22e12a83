"""A run that goes on with a study that changed: who hears of it, and what is kept."""

import pandas as pd

from tricksearch.contract import discover
from tricksearch.search.driver import run_study
from tricksearch.store.folder import open_store


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
        store.add([make_record(number, study.recipe(tricks), phase=phase, validation_images=9, latency_runs=9)])
    before = store.records()
    store.close()

    changed = make_study(tricks={"left": {"factor": [0.5, 1.0]}, "right": None, "solo": None}, search={"trials": 3})
    first, second = Heard(), Heard()
    assert run_study(changed, folder, first, local=True) == before
    words = ["left.factor was [0.5, 2.0] and is [0.5, 1.0]", "right was added"]
    assert first.said == [("begins", 3), ("changed", words, 1)]
    run_study(changed, folder, second, local=True)
    assert second.said == [("begins", 3)]
    assert len(pd.read_parquet(folder / "records.parquet")) == 3
