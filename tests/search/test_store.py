import json
import sqlite3

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tricksearch.contract import InputError, discover
from tricksearch.search.folder import held_folder, open_store, read_store
from tricksearch.search.store import Store
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.record import STATUSES, Record

numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from(STATUSES), texts, numbers, numbers),
        max_size=8,
        unique_by=lambda row: row[0],
    )
)
def test_what_is_stored_is_read_back(tmp_path_factory, rows):
    store = Store.at(tmp_path_factory.mktemp("store") / "store.db")
    written = [
        Record(
            trial=trial, phase="search", status=status, reason=reason, seed=trial,
            recipe=Recipe().model_dump(mode="json"), accuracy=accuracy, latency_ms=latency,
        )
        for trial, status, reason, accuracy, latency in rows
    ]  # fmt: skip
    for record in written:
        store.add([record])
    store.close()
    assert store.records() == sorted(written, key=lambda record: record.trial)


def test_a_recipe_and_seed_are_stored_once(tmp_path, make_record):
    store = Store.at(tmp_path / "store.db")
    store.add([make_record(0, Recipe())])
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        store.add([make_record(1, Recipe())])
    assert len(store.records()) == 1


def test_a_file_that_is_no_store_is_refused_and_kept(tmp_path):
    path = tmp_path / "store.db"
    path.write_text("my own notes, " * 100)
    with pytest.raises(InputError, match=r"store\.db"):
        Store.at(path)
    assert path.read_text() == "my own notes, " * 100


def test_a_newer_schema_is_refused(tmp_path):
    Store.at(tmp_path / "store.db").put_fact("schema", 99)
    with pytest.raises(InputError, match="schema 99"):
        Store.at(tmp_path / "store.db")


def test_a_full_disk_is_said_and_loses_nothing(tmp_path, make_record):
    """SQLite's own page limit gives the same error as a disk without room."""
    store = Store.at(tmp_path / "store.db")
    store.add([make_record(0, Recipe())])

    def limit(connection, _):
        connection.execute("PRAGMA max_page_count=1")  # SQLite takes the present size instead: nothing more fits

    sqlalchemy.event.listen(store._engine, "connect", limit)
    store.close()
    with pytest.raises(InputError, match="full") as told:
        fill(store, make_record)
    assert "is kept" in str(told.value)
    kept = Store.at(tmp_path / "store.db").records()
    assert kept
    assert kept[0].trial == 0


def opened(folder, study):
    return open_store(folder, study, discover(study.plugins))


def test_a_trick_whose_source_changed_is_another_study(tmp_path, make_study):
    """A rename of what stands in the file would do; here it is a comment."""
    study = make_study()
    (tmp_path / "run").mkdir()
    opened(tmp_path / "run", study).close()
    opened(tmp_path / "run", study).close()
    trick = next(tmp_path.glob("own_tricks/solo.py"))
    trick.write_text(trick.read_text() + "# changed\n")
    with pytest.raises(InputError, match="the source of 'solo' is another"):
        opened(tmp_path / "run", study)


def fill(store, make_record):
    for trial in range(1, 50):
        store.add([make_record(trial, Recipe(plugins=(str(trial),)), reason="x" * 2000)])


def test_a_folder_with_another_study_is_refused_and_unchanged(tmp_path, make_study):
    opened(tmp_path, make_study(train={"epochs": 12})).close()
    before = sqlite3.connect(tmp_path / "store.db").execute("select value from facts where name = 'study'").fetchone()
    with pytest.raises(InputError, match=r"train\.epochs is 12 there and 20 here"):
        opened(tmp_path, make_study(train={"epochs": 20}))
    after = sqlite3.connect(tmp_path / "store.db").execute("select value from facts where name = 'study'").fetchone()
    assert before == after
    assert json.loads(after[0])["train"]["epochs"] == 12


def test_more_trials_are_the_same_study(tmp_path, make_study):
    opened(tmp_path, make_study(search={"trials": 10})).close()
    opened(tmp_path, make_study(search={"trials": 20})).close()


def test_a_folder_is_held_by_one_run(tmp_path):
    with held_folder(tmp_path), pytest.raises(InputError, match=r"process \d+ on "), held_folder(tmp_path):
        pass
    with held_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--out"), held_folder(tmp_path / "file" / "run"):
        pass


def test_a_folder_without_a_run_is_said(tmp_path):
    with pytest.raises(InputError, match=r"no 'store\.db'"):
        read_store(tmp_path)
    assert list(tmp_path.iterdir()) == []
