"""The tables: what no longer holds is taken away, and what this machine cannot judge stays."""

import pytest

from tests.believable import findings
from tricksearch.report.results import write_results
from tricksearch.report.tables import BEST, MINIMAL, VERDICTS
from tricksearch.verdicts.findings import Findings


@pytest.fixture
def written(tmp_path, make_study, make_record):
    study = make_study()
    records = [
        make_record(0, study.base_recipe(), phase="baseline", validation_images=9, latency_runs=9),
        make_record(1, study.recipe({"solo": {"kind": "a"}}), 95.0, validation_images=9, latency_runs=9),
    ]
    write_results(tmp_path, study, records, findings())
    assert (tmp_path / VERDICTS).is_file()
    assert (tmp_path / BEST).is_file()
    return study, records


def test_verdicts_that_no_longer_hold_are_taken_away(tmp_path, written):
    study, records = written
    write_results(tmp_path, study, records, Findings(notes=("The code of solo changed.",)))
    assert not (tmp_path / VERDICTS).exists()
    assert not (tmp_path / MINIMAL).exists()


def test_verdicts_that_this_machine_cannot_give_stay(tmp_path, written):
    study, records = written
    write_results(tmp_path, study, records, Findings(notes=("a trick is not here",), incomplete=True))
    assert (tmp_path / VERDICTS).is_file()


def test_where_no_record_counts_any_more_no_best_recipe_stays(tmp_path, written):
    study, _ = written
    write_results(tmp_path, study, [], Findings())
    assert not (tmp_path / BEST).exists()
    assert "trial" in (tmp_path / "front.csv").read_text(), "the table has its heads, and no row"
