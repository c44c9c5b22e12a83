"""The live view: what it shows, and that a frame does no work which an earlier one has done."""

import io

import pytest
from rich.console import Console

from tricksearch.cli.progress import Progress
from tricksearch.records import averages
from tricksearch.records.recipe import Recipe


class Screen:
    """A terminal that keeps what is printed."""

    def __init__(self):
        self.console = Console(file=io.StringIO(), width=100)

    def log_to(self, path):
        pass


@pytest.fixture
def progress(tmp_path, make_study, make_record):
    study = make_study(search={"trials": 300})
    view = Progress(Screen(), tmp_path, quiet=True)
    records = [make_record(0, study.base_recipe(), 90.0, 1.0, phase="baseline")]
    for trial in range(1, 200):
        recipe = study.recipe({"left": {"factor": 0.5 + trial % 50 / 100}})
        records.append(make_record(trial, recipe, 80.0 + trial / 100, 1.0 - trial / 1000))
    view.begins(study, records, "this process")
    return view


def shown(view):
    console = Console(file=io.StringIO(), width=100)
    console.print(view)
    return console.file.getvalue()


def test_it_shows_counts_and_the_front_of_means(progress, make_study, make_record):
    text = shown(progress)
    assert "200 records, 0 running, 0 failed" in text
    assert "Front so far" in text
    assert "(plain baseline)" in text
    # The four runs of a recipe stand with their mean: trials 49, 99, 149 and 199.
    assert "81.24 %" in text
    assert "81.99 %" not in text


def test_a_frame_reads_no_recipe_and_averages_nothing_again(progress, make_record, monkeypatch):
    averaged = []
    mean_of = averages.mean_of
    monkeypatch.setattr(averages, "mean_of", lambda runs: averaged.append(len(runs)) or mean_of(runs))
    monkeypatch.setattr(Recipe, "model_validate", lambda *_: pytest.fail("a frame reads a recipe"))
    before = shown(progress)
    assert shown(progress) == before
    assert averaged == []
    monkeypatch.undo()

    monkeypatch.setattr(averages, "mean_of", lambda runs: averaged.append(len(runs)) or mean_of(runs))
    best = make_record(200, Recipe(tricks={"solo": {}}), 99.0, 0.1)
    progress.recorded([best])
    assert averaged == [1]
    assert "99.00 %" in shown(progress)
