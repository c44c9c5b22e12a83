"""A measure is one entry: whoever adds one sees it printed, stored, averaged, simulated and judged."""

import pandas as pd
import pytest
from rich.console import Console

from tricksearch.cli import formats
from tricksearch.records.averages import averaged
from tricksearch.records.measures import MEASURES, Measure
from tricksearch.records.record import Record
from tricksearch.report.tables import records_table
from tricksearch.search.driver import run_study
from tricksearch.search.observer import Observer
from tricksearch.search.phases.findings import findings_of
from tricksearch.store.run import StoredRun
from tricksearch.verdicts.words import amount, noun

NAME = "energy_mj"


@pytest.fixture(autouse=True)
def energy(monkeypatch):
    entry = Measure("mJ", False, "energy of a call", "energy", 1, 5.0)
    monkeypatch.setitem(MEASURES, NAME, entry)
    return entry


def test_it_is_printed_with_its_unit_and_its_digits(make_record, make_study):
    study = make_study(objectives=["accuracy", NAME])
    plain = make_record(0, study.base_recipe(), phase="baseline", **{NAME: 4.0})
    better = make_record(1, study.recipe({"solo": {"kind": "a"}}), **{NAME: 3.04})
    assert f"{NAME} 3.0 mJ" in formats.line(better, study.objectives)
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as shown:
        console.print(formats.table([plain, better], study.objectives, plain, "The front"))
    assert "3.0 mJ" in shown.get()
    assert "x 0.76" in shown.get()


def test_it_is_stored_tabulated_and_averaged(make_record, make_study):
    recipe = make_study().base_recipe()
    runs = [make_record(at, recipe, **{NAME: 4.0 + at}) for at in range(2)]
    again = [Record.from_json(run.to_json() | {"seed": at}) for at, run in enumerate(runs)]
    assert [run.value(NAME) for run in again] == [4.0, 5.0]
    (mean,) = averaged(again)
    assert (mean.value(NAME), mean.runs) == (4.5, 2)
    assert records_table(again)[NAME].tolist() == [4.0, 5.0]


def test_it_can_be_an_objective_that_is_simulated_and_judged(make_study, tmp_path):
    """Of two tricks one saves a third of it: the screen says so, and that the other saves nothing."""
    study = make_study(
        trial="simulated",
        tricks=["left", "solo"],
        objectives=["accuracy", NAME],
        constraints=[f"{NAME} <= 9"],
        phases=["screen"],
        screen={"runs": 16},
        simulation={"measures": {NAME: {"base": 6.0, "sd": 1.0, "effects": {"left": -33.0}}}},
    )
    records = run_study(study, tmp_path / "run", Observer(), local=True)
    assert all(0 < record.value(NAME) < 9 for record in records)
    with StoredRun.open(tmp_path / "run") as run:
        verdicts = [each for each in findings_of(study, run.store).verdicts if each.measure == NAME]
    said = {verdict.trick: verdict.says for verdict in verdicts if verdict.comparison == "screen"}
    assert said == {"left": "helps", "solo": "equivalent"}
    left = next(verdict for verdict in verdicts if verdict.trick == "left")
    assert left.low < -33.0 < left.high
    assert (noun(NAME), amount(left.effect, NAME)[-1]) == ("energy", "%")


def test_what_is_left_out_of_a_simulation_has_the_value_of_its_entry(make_study, tmp_path):
    study = make_study(trial="simulated", simulation={"measures": {}}, search={"trials": 2})
    records = run_study(study, tmp_path / "run", Observer(), local=True)
    assert {record.value(NAME) for record in records} == {5.0}


def test_a_record_knows_no_other_measure(make_record, make_study):
    record = make_record(0, make_study().base_recipe())
    assert record.value("f1") is None
    with pytest.raises(KeyError):
        record.value("speed")
    assert pd.isna(records_table([record])["f1"]).all()
