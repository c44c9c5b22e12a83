"""The Python API: a study is run and its folder read, as a notebook does it."""

import pandas as pd
import pytest

import tricksearch
from tricksearch.records.record import Record

SIMULATION = {"measures": {"accuracy": {"base": 90, "sd": 0.5, "effects": {"left": 2}}, "latency_ms": {"base": 2}}}


@pytest.fixture
def study(make_study):
    return make_study(
        trial="simulated",
        tricks=["left", "solo"],
        simulation=SIMULATION,
        phases=["screen", "search"],
        screen={"runs": 8},
        search={"trials": 12},
    )


def test_a_run_is_read_as_tables(study, tmp_path):
    run = tricksearch.run(study, out=tmp_path / "run", local=True)
    records = run.records()
    assert isinstance(records, pd.DataFrame)
    assert len(records) == len(records["id"].unique()) >= 12
    assert records.loc[records["phase"] == "baseline", "names"].tolist() == [""]
    assert records["recipe"].map(lambda recipe: set(recipe["tricks"])).tolist() == [
        set(names.split(" + ")) - {""} for names in records["names"]
    ]
    front = run.front()
    assert set(front["id"]) <= set(records["id"])
    assert isinstance(run.best(), Record)
    assert run.best().id in set(front["id"])
    verdicts = run.verdicts()
    row = verdicts[(verdicts["trick"] == "left") & (verdicts["measure"] == "accuracy")].iloc[0]
    assert row["verdict"] == "helps"
    assert row["low"] < 2 < row["high"]


def test_the_tables_and_the_page_are_written_and_the_folder_opens_the_same(study, tmp_path):
    run = tricksearch.run(study, out=tmp_path / "run", local=True)
    for name in ("records.parquet", "front.csv", "best.yaml", "verdicts.csv", "report.html", "study.resolved.yaml"):
        assert (tmp_path / "run" / name).is_file(), name
    again = tricksearch.open(tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()
    assert again.write().is_file()
    pd.testing.assert_frame_equal(again.records(), run.records())
    pd.testing.assert_frame_equal(again.verdicts(), run.verdicts())
    assert again.study == run.study
    more = tricksearch.run(study.model_copy(update={"search": study.search.model_copy(update={"trials": 14})}),
                           out=tmp_path / "run", local=True)  # fmt: skip
    assert len(more.records()) > len(run.records())


def test_a_file_is_run_and_its_observer_is_told(study, tmp_path):
    class Counts(tricksearch.Observer):
        recorded_trials = 0

        def recorded(self, records):
            self.recorded_trials += 1

    counts = Counts()
    run = tricksearch.run(tmp_path / "study.yaml", out=tmp_path / "run", observer=counts, local=True)
    assert counts.recorded_trials == len(run.records()["trial"].unique())


def test_the_figure_has_every_recipe_and_the_front(study, tmp_path):
    run = tricksearch.run(study, out=tmp_path / "run", local=True)
    figure = run.figure()
    traces = {trace.name: trace for trace in figure.data}
    assert set(traces) == {"recipes", "baseline", "front"}
    assert list(traces["front"].y) == run.front()["accuracy"].tolist()
    assert figure.layout.yaxis.title.text == "top-1 accuracy [%]"
    assert len(traces["recipes"].x) == len({record.recipe_key for record in run._records})


def test_a_notebook_shows_it_and_no_name_becomes_html(study, tmp_path):
    run = tricksearch.run(study.model_copy(update={"name": "a&b"}), out=tmp_path / "run", local=True)
    shown = run._repr_html_()
    assert "<table" in shown
    assert "a&amp;b" in shown
    assert "a&b" not in shown.replace("&amp;", "")
    assert f"{len(run.records())} records" in repr(run)


def test_a_folder_of_no_run_is_refused(tmp_path):
    with pytest.raises(tricksearch.InputError, match="Name the folder of a run"):
        tricksearch.open(tmp_path)


def test_every_public_name_is_there():
    assert sorted(tricksearch.__all__) == tricksearch.__all__
    assert [name for name in tricksearch.__all__ if not hasattr(tricksearch, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tricksearch.nothing  # noqa: B018
