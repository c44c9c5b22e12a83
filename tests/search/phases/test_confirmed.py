"""What is shown and shipped of a recipe that was confirmed: its fresh runs, and no value that it was chosen by."""

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import yaml

from tests.search.observer import Listener
from tricksearch.records.averages import averaged, shown
from tricksearch.report.page import render
from tricksearch.report.tables import write_tables
from tricksearch.report.view import as_tested, make_view
from tricksearch.search.loop import Loop
from tricksearch.search.phases.confirm import confirmed_verdicts
from tricksearch.search.phases.findings import findings_of
from tricksearch.ship.pick import picked_record
from tricksearch.store.store import Store
from tricksearch.trial.simulated import simulate
from tricksearch.verdicts.text import sections

WORLD = {
    "measures": {
        "accuracy": {"base": 76.0, "sd": 1.5, "effects": {"left": 6.0}},
        "latency_ms": {"base": 1.0, "sd": 1.0, "effects": {"left": -30.0}},
    }
}


@pytest.fixture
def confirmed(make_study, registry_of, tmp_path):
    """A study whose search is lucky, with its records and findings."""
    search = {"trials": 25, "startup": 4}
    keys = {"trial": "simulated", "simulation": WORLD, "phases": ["search", "confirm"], "confirm": {"seeds": 4}}
    study = make_study(search=search, **keys)
    store = Store.at(tmp_path / "store.db")
    loop = Loop(study, registry_of(study), store, tmp_path, Listener())
    while (job := loop.next()) is not None:
        loop.finish(simulate(job))
    yield study, store.records(), findings_of(study, store)
    store.close()


def fresh(records, key):
    return [record for record in records if record.phase == "confirm" and record.recipe_key == key]


def test_fresh_runs_take_the_place_of_what_the_search_saw(confirmed):
    study, records, _ = confirmed
    seen = {record.recipe_key: record for record in averaged(records)}
    means = {record.recipe_key: record for record in shown(records)}
    assert means.keys() == seen.keys()
    stands = {key: mean for key, mean in means.items() if mean.confirmed}
    assert len(stands) >= 2
    for key, mean in stands.items():
        runs = fresh(records, key)
        assert mean.accuracy == pytest.approx(fmean(run.accuracy for run in runs))
        assert (mean.confirmed, mean.runs) == (len(runs), len(runs))
        assert (mean.id, mean.phase) == (seen[key].id, seen[key].phase)
    best = study.goals.knee_of_means(shown(records))
    assert best.confirmed, "what was not confirmed does not win by a lucky value"
    assert averaged(records) == [record for record in averaged(records) if not record.confirmed]


@pytest.mark.parametrize("pick", ["knee", "best", "latency_ms <= 2", "accuracy >= baseline - 90"])
def test_what_is_picked_is_a_fresh_run_of_what_was_confirmed(confirmed, pick):
    study, records, _ = confirmed
    record = picked_record(records, study, pick, Path("run"))
    assert record.phase == "confirm"
    assert record.test_accuracy is not None
    assert record == fresh(records, record.recipe_key)[0], "the first of them, not the best"
    searched = next(record for record in records if record.phase == "search" and record.finished)
    assert picked_record(records, study, searched.id, Path("run")) == searched, "an id is that of its record"


def test_tables_and_page_stand_by_the_fresh_runs(confirmed, tmp_path):
    study, records, findings = confirmed
    write_tables(tmp_path, study, records, findings)
    best = study.goals.knee_of_means(shown(records))
    text = (tmp_path / "best.yaml").read_text()
    assert f"trial {best.id}," in text
    assert f"Confirmed: the mean of 4 fresh runs: accuracy {best.accuracy:.2f} %" in text
    assert yaml.safe_load(text)["tricks"] == best.tricks
    header, *rows = (tmp_path / "front.csv").read_text().splitlines()
    assert header.startswith("id,confirmed,")
    assert any(row.startswith(f"{best.id},4,") for row in rows)
    assert make_view(shown(records), study.objectives).knee == shown(records).index(best)
    assert f"trial {best.id}" in render(records, study.model_dump(mode="json"), findings)


def test_each_confirmed_recipe_gets_a_verdict_against_the_baseline(confirmed):
    study, records, findings = confirmed
    verdicts = [verdict for verdict in findings.verdicts if verdict.comparison == "confirmed"]
    recipes = {record.recipe_key for record in records if record.phase == "confirm" and record.tricks}
    assert {verdict.trick for verdict in verdicts} == {
        f"record {mean.id}" for mean in averaged(records) if mean.recipe_key in recipes
    }
    assert {verdict.measure for verdict in verdicts} == {"accuracy", "latency_ms", "train_seconds"}
    assert {verdict.n for verdict in verdicts if verdict.measure in study.objectives} == {8}, "4 against 4"
    (told,) = [lines for heading, lines in sections(findings) if heading == "Confirmed recipes"]
    assert all(line.startswith("The recipe of record ") for line in told)
    faster = [verdict for verdict in verdicts if verdict.measure == "latency_ms" and verdict.says == "helps"]
    assert faster, "30 % are found"
    assert any("lowers latency" in line for line in told)


def test_page_tables_api_and_members_have_one_front(confirmed, tmp_path):
    study, records, findings = confirmed
    view = make_view(shown(records), study.objectives)
    page = [view.records[at].id for at in view.front]
    write_tables(tmp_path, study, records, findings)
    table = [row.partition(",")[0] for row in (tmp_path / "front.csv").read_text().splitlines()[1:]]
    assert page == table == [record.id for record in study.goals.front_of_means(shown(records))]
    assert view.knee in view.front
    roles = {member.record: member.role for member in findings.members}
    assert {name for name, role in roles.items() if role == "front"} <= set(page)
    assert all(roles[name] in ("front", "baseline") for name in page)


def test_a_confirmation_that_was_cut_off_decides_nothing(confirmed):
    _, records, _ = confirmed
    runs = [record for record in records if record.phase == "confirm"]
    others = [record for record in records if record.phase != "confirm"]
    recipes = len({record.recipe_key for record in runs})
    for count in range(2 * recipes):
        assert shown([*others, *runs[:count]]) == averaged(others), "some recipes have fewer than two runs"
    assert any(record.confirmed for record in shown([*others, *runs[: 2 * recipes]]))
    later = replace(others[-1], trial=max(record.trial for record in records) + 1)
    assert not any(record.confirmed for record in shown([*records, later])), "the search went on"


def test_the_latency_of_fresh_runs_is_theirs(confirmed):
    _, records, _ = confirmed
    again = [replace(record, timed_again={"latency_ms": 77.0}) for record in records]
    assert all(mean.latency_ms != 77.0 for mean in shown(again) if mean.confirmed)


def test_a_later_confirmation_runs_all_of_it_again(confirmed, registry_of, tmp_path):
    study, records, _ = confirmed
    store = Store.at(tmp_path / "store.db")
    more = study.model_copy(update={"search": study.search.model_copy(update={"trials": 30})})
    loop = Loop(more, registry_of(more), store, tmp_path, Listener())
    while (job := loop.next()) is not None:
        loop.finish(simulate(job))
    later = store.records()
    new = [record for record in later if record.phase == "confirm" and record not in records]
    assert {record.recipe_key for record in new if not record.tricks} == {study.recipe({}).key}, "the baseline too"
    verdicts = confirmed_verdicts(more, store, later)
    store.close()
    assert {verdict.n for verdict in verdicts if verdict.measure in study.objectives} == {8}, "none of the earlier runs"


def test_the_headline_claims_what_fresh_runs_show(confirmed):
    study, records, findings = confirmed
    view = make_view(shown(records), study.objectives)
    tested = as_tested(view, findings.verdicts)
    helps = {(v.trick, v.measure) for v in findings.verdicts if v.comparison == "confirmed" and v.says == "helps"}
    assert [view.records[at].id for at in tested.sure] == [
        view.records[at].id
        for at in view.better
        if {(f"record {view.records[at].id}", name) for name in study.objectives} <= helps
    ]
    assert as_tested(view, []) == view
