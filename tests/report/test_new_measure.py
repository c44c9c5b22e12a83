"""With an entry in MEASURES alone, the page, the sentences of verdicts and the model card show a measure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.conftest import make_records, make_study
from tests.report.test_page import _column, _open, _text
from tricksearch.contract import Deployable, Runtime
from tricksearch.records.measures import MEASURES, Measure
from tricksearch.records.record import Record
from tricksearch.report.page import write_report
from tricksearch.ship.model_card import Subject, model_card
from tricksearch.verdicts.decide import decide
from tricksearch.verdicts.findings import Findings
from tricksearch.verdicts.text import sections
from tricksearch.verdicts.verdict import Estimate

NAME = "energy_mj"
ENERGY = Measure("mJ", False, "energy, median", "energy", 2, 5.0, of_machine=True)


@pytest.fixture(autouse=True)
def energy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEASURES, NAME, ENERGY)


@pytest.fixture
def records() -> list[Record]:
    return [
        replace(record, measures={**record.measures, NAME: 3.0 + 0.25 * record.trial}) if record.finished else record
        for record in make_records(12)
    ]


def test_the_page_lists_draws_and_names_it(browser, tmp_path, records: list[Record]) -> None:
    objectives = ["accuracy", NAME]
    write_report(records, make_study(objectives=objectives), tmp_path / "report.html")
    for opened in _open(browser, tmp_path / "report.html"):
        assert _column(opened, "energy, mJ") == [
            f"{record.value(NAME):.2f}" if record.finished else "\N{EN DASH}" for record in records
        ]
        chart = opened.execute_script("return document.getElementById('chart').layout.xaxis.title.text")
        assert chart == "energy, median (mJ), lower is better"
        baseline = opened.execute_script(
            "return document.getElementById('chart').data.filter((trace) => trace.name === 'baseline')[0].x"
        )
        assert baseline == [3.0]
        assert "both accuracy and energy" in _text(opened, "h1")
        opened.execute_script("document.querySelector('#table tbody tr:nth-child(3)').click()")
        assert "energy, median3.50 mJ\N{MULTIPLICATION SIGN} 1.17" in _text(opened, "#panel-measures")


def test_the_page_lists_it_where_it_is_no_objective(browser, tmp_path, records: list[Record]) -> None:
    write_report(records, make_study(), tmp_path / "report.html")
    for opened in _open(browser, tmp_path / "report.html"):
        assert _column(opened, "energy, mJ")[0] == "3.00"


def test_a_verdict_on_it_has_words_and_unit() -> None:
    effect = Estimate("halved", -0.5, 0.02, 40.0, 24, 24)
    verdicts = decide(
        [effect], measure=NAME, relative=not ENERGY.percent, maximize=False, margin=5, comparison="screen"
    )
    ((_, (sentence,)),) = sections(Findings(verdicts=tuple(verdicts)))
    assert sentence.startswith("halved helps on energy: -39.3 % [-41.7, -36.8], x 0.61, n = 48")


def test_the_model_card_shows_it(tmp_path, records: list[Record]) -> None:
    record = records[2]
    (tmp_path / "model.onnx").write_bytes(b"")
    deployable = Deployable(tmp_path / "model.onnx")
    runtime = Runtime("onnxruntime", lambda *_: None, ("onnxruntime",))
    card = model_card(
        Subject(
            "digits", "knee", record, record, records[0], records, deployable, runtime, {"numpy": "2"}, 10, (1, 8, 8)
        )
    )
    assert "| energy, median | 3.50 mJ | 3.00 mJ | x 1.17 |" in card
