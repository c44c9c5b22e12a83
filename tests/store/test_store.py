import json
import sqlite3

import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st

from tricksearch.contract import InputError, discover
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import STATUSES, Record
from tricksearch.store import schema
from tricksearch.store.facts import HISTORY, SOURCES
from tricksearch.store.folder import held_folder, open_store, open_study, read_records, read_store
from tricksearch.store.store import Store

numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=30)
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
            recipe=Recipe().model_dump(mode="json"),
            measures={"accuracy": accuracy, "latency_ms": latency},
        )
        for trial, status, reason, accuracy, latency in rows
    ]  # fmt: skip
    for record in written:
        store.add([record])
    store.close()
    assert store.records() == sorted(written, key=lambda record: record.trial)


small = st.integers(0, 3)
operations = st.lists(
    st.tuples(st.sampled_from(["record", "report", "fact"]), small, small, texts, numbers), max_size=12
)


@settings(max_examples=40)
@given(operations)
def test_a_store_reads_as_what_was_written(tmp_path_factory, follow, written):
    """A second record of one trial and variant is refused, a second report or fact takes the first one's place."""
    store = Store.at(tmp_path_factory.mktemp("store") / "store.db")
    follow(store, written)
    store.close()


@pytest.fixture
def stored(tmp_path, make_record):
    """The file of a store with one record."""
    path = tmp_path / "store.db"
    store = Store.at(path)
    store.add([make_record(0, Recipe(), 91.25)])
    store.close()
    return path


def dumped(path):
    with sqlite3.connect(path) as connection:
        return "\n".join(connection.iterdump())


def test_another_studys_store_is_read_and_never_changed(stored, make_record):
    before = dumped(stored)
    assert [record.accuracy for record in read_records(stored.parent)] == [91.25]
    reader = read_store(stored.parent, read_only=True)
    with pytest.raises(InputError, match="readonly"):
        reader.add([make_record(1, Recipe())])
    reader.close()
    assert dumped(stored) == before


@pytest.mark.parametrize("number", [1, 2, 99])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_of_another_schema_is_refused_and_kept(stored, number, read_only):
    with sqlite3.connect(stored) as connection:
        connection.execute("update facts set value = ? where name = 'schema'", [str(number)])
    before = dumped(stored)
    with pytest.raises(InputError, match=f"schema {number}, this version reads schema {schema.SCHEMA}"):
        read_store(stored.parent, read_only=read_only)
    assert dumped(stored) == before


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


def fill(store, make_record):
    for trial in range(1, 50):
        store.add([make_record(trial, Recipe(tricks={"any": {"n": trial}}), reason="x" * 2000)])


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


def test_what_may_change_between_two_runs_is_told_and_kept(tmp_path, make_study, make_record):
    folder = tmp_path / "run"
    folder.mkdir()
    study = make_study(tricks=["left", "solo"], search={"trials": 10})
    store, told = open_study(folder, study, discover(study.plugins))
    store.add([make_record(0, study.recipe({"solo": {"kind": "a"}}))])
    assert told == []
    store.close()

    same, told = open_study(folder, study, discover(study.plugins))
    assert told == []
    same.close()

    study = make_study(
        tricks={"left": {"factor": [0.5, 1.0]}, "right": None}, search={"trials": 30, "sampler": "random", "workers": 2}
    )
    store, told = open_study(folder, study, discover(study.plugins))
    assert told == [
        "left.factor was [0.5, 2.0] and is [0.5, 1.0]",
        "right was added",
        "solo was taken out",
        "search.trials was 10 and is 30",
        "search.sampler was 'auto' and is 'random'",
    ]
    assert store.count() == 1
    assert set(store.fact(SOURCES)) == {"left", "right", "solo"}
    assert [entry["difference"] for entry in store.fact(HISTORY)] == [[], told]
    assert all(entry["time"].endswith("+00:00") for entry in store.fact(HISTORY))
    store.close()


def test_a_store_in_the_folder_and_one_in_a_database_are_two(tmp_path, make_study):
    """Neither is taken for the other, and no server is asked before that is known."""
    url = "postgresql://me:secret@127.0.0.1:1/nothing"
    opened(tmp_path, make_study()).close()
    with pytest.raises(InputError, match=r"is store\.db, and the study names postgresql\+psycopg://me@127") as told:
        opened(tmp_path, make_study(store=url))
    assert "secret" not in str(told.value)
    (tmp_path / "store.db").unlink()
    (tmp_path / "store.json").write_text(json.dumps({"url": "postgresql+psycopg://me@other/db", "schema": "s"}))
    with pytest.raises(InputError, match="is postgresql\\+psycopg://me@other/db, and the study names none"):
        opened(tmp_path, make_study())
    with pytest.raises(InputError, match="is postgresql\\+psycopg://me@other/db, and the study names postgresql"):
        opened(tmp_path, make_study(store=url))
    (tmp_path / "store.json").write_text("{}")
    with pytest.raises(InputError, match=r"store\.json"):
        read_store(tmp_path)


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
