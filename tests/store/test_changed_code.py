"""A run folder and the code of its tricks: words may change, code may not unless it is said what becomes of records."""

import hashlib

import pytest

from tricksearch.contract import InputError, discover, source_hash
from tricksearch.contract.earlier import EARLIER
from tricksearch.search.phases.findings import findings_or_why
from tricksearch.store.changed_code import code_changes
from tricksearch.store.facts import ABLATION, CODE_CHANGES, CONFIRMATION, HISTORY, SCREENS, SOURCES
from tricksearch.store.folder import open_study
from tricksearch.store.run import StoredRun
from tricksearch.store.store import Store


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def edit(tmp_path):
    """Replace text in the file of a trick."""

    def to(name, old, new):
        file = tmp_path / "own_tricks" / f"{name}.py"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return to


def opened(folder, study, how=None):
    return open_study(folder, study, discover(study.plugins), how)


@pytest.fixture
def ran(folder, make_study, make_record):
    """A run of six records: of the baseline, of `left` with two variants, of `solo`, of both."""
    study = make_study(tricks=["left", "right", "solo"], search={"trials": 4})
    solo, left = {"solo": {"kind": "a"}}, {"left": {"factor": 1.0}}
    store, _ = opened(folder, study)
    store.add([make_record(0, study.base_recipe(), phase="baseline")])
    store.add([
        make_record(1, study.recipe(left)),
        make_record(1, study.recipe(left | solo), variant=1),
        make_record(1, study.recipe(left | {"other": {}}), variant=2),
    ])  # fmt: skip
    store.add([make_record(2, study.recipe(solo))])
    store.add([make_record(3, study.recipe({"right": {"kind": "a"}}))])
    store.report(1, 1, {"accuracy": 50.0})
    store.report(2, 1, {"accuracy": 50.0})
    store.close()
    return study


def ids(records):
    return [record.id for record in records]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("scale the loss", "scales the loss"),
        ("Multiplies the loss", "Divides nothing"),
        ("    def loss", "    # as in the paper\n\n    def loss"),
        ("1.0 * loss(logits, batch)", "1.0*loss(\n            logits,\n            batch,\n        )"),
    ],
)
def test_words_lock_no_folder(folder, ran, edit, old, new):
    edit("solo", old, new)
    store, told = opened(folder, ran)
    assert (told, len(store.records())) == ([], 6)
    store.close()


def test_the_text_of_an_error_locks_no_folder(folder, ran, edit):
    edit("solo", "        return", "        if False:\n            raise ValueError('one')\n        return")
    opened(folder, ran, "keep")[0].close()
    edit("solo", "'one'", "'two'")
    store, told = opened(folder, ran)
    assert told == []
    store.close()


def test_a_line_of_code_is_refused_and_nothing_is_changed(folder, ran, edit):
    edit("solo", "1.0 *", "2.0 *")
    with pytest.raises(InputError, match="the code of 'solo' has changed since 2 of the 6 records") as refused:
        opened(folder, ran)
    for words in ("give --out another folder", "--changed-tricks", "'set-aside' leaves", "'keep' counts"):
        assert words in str(refused.value)
    edit("solo", "2.0 *", "1.0 *")
    store, told = opened(folder, ran)
    assert (told, len(store.records()), code_changes(store)) == ([], 6, [])
    store.close()


def test_a_changed_trick_that_no_record_has_is_taken_as_it_is(folder, ran, edit, make_study):
    study = make_study(tricks=["left", "right"])
    edit("solo", "1.0 *", "2.0 *")
    opened(folder, study)[0].close()  # nobody asks for it
    with pytest.raises(InputError, match="the code of 'solo'"):  # it comes back changed
        opened(folder, ran)
    other = folder / "other"
    other.mkdir()
    opened(other, ran)[0].close()
    edit("solo", "2.0 *", "3.0 *")
    store, _ = opened(other, ran)
    assert store.fact(SOURCES)["solo"] == source_hash(discover(ran.plugins)["solo"])
    store.close()


def test_records_that_are_set_aside_are_kept_and_count_no_more(folder, ran, edit, make_record):
    edit("solo", "1.0 *", "2.0 *")
    before = Store.at(folder / "store.db")
    before.put_fact(SCREENS, {"a": [None]})
    before.put_fact(CONFIRMATION, {"tricks": [], "searched": 6, "recipes": 5})
    was = before.records()
    before.close()
    store, told = opened(folder, ran, "set-aside")
    assert told == ["the code of solo changed, and 2 records with it were set aside"]
    assert ids(store.records()) == ["0", "1", "1.2", "3"]
    assert store.count() == 4
    assert store.records_set_aside() == [record for record in was if record.id in ("1.1", "2")]
    assert store.reports() == [(1, 1, {"accuracy": 50.0})], "that of the trial which still has a record"
    assert store.fact(SCREENS) == {}
    assert store.fact(CONFIRMATION)["searched"] == -1, "the choice is made anew"
    assert store.fact(ABLATION) is None
    assert store.fact(HISTORY)[-1]["difference"] == told
    again = make_record(4, ran.recipe({"solo": {"kind": "a"}}), accuracy=70.0)
    store.add([again])  # the same recipe and seed
    assert ids(store.records()) == ["0", "1", "1.2", "3", "4"]
    (note,) = findings_or_why(ran, store).notes
    assert note == "The code of solo changed during the study: 2 records with it were set aside and counted nowhere."
    store.close()

    store, told = opened(folder, ran)
    assert (told, store.count()) == ([], 5), "it is said once"
    store.close()
    edit("solo", "2.0 *", "3.0 *")
    store, told = opened(folder, ran, "set-aside")
    assert told == ["the code of solo changed, and 1 record with it was set aside"]
    assert ids(store.records_set_aside()) == ["1.1", "2", "4"]
    store.close()


def test_with_a_trials_own_record_goes_all_that_shares_its_training(folder, ran, edit):
    edit("left", "self.factor *", "2 * self.factor *")
    store, told = opened(folder, ran, "set-aside")
    assert told == ["the code of left changed, and 3 records with it were set aside"]
    assert ids(store.records()) == ["0", "2", "3"]
    store.close()


def test_records_that_are_kept_count_and_it_is_said(folder, ran, edit):
    edit("solo", "1.0 *", "2.0 *")
    earlier = Store.at(folder / "store.db").fact(SOURCES)["solo"]
    store, told = opened(folder, ran, "keep")
    assert told == [
        "the code of solo changed, and 2 records with it were kept, as if they were of the code as it is now"
    ]
    assert len(store.records()) == 6
    assert store.fact(SOURCES)["solo"] == source_hash(discover(ran.plugins)["solo"]) != earlier
    (change,) = code_changes(store)
    assert (change.trick, change.earlier, change.done, change.records) == ("solo", earlier, "keep", ["1.1", "2"])
    (note,) = findings_or_why(ran, store).notes
    assert "2 records of the earlier code were kept: what is said of solo takes both codes for one" in note
    store.close()
    store, told = opened(folder, ran)
    assert told == []
    store.close()

    edit("solo", "2.0 *", "3.0 *")
    store, _ = opened(folder, ran, "set-aside")
    (note,) = findings_or_why(ran, store).notes
    assert "set aside" in note, "of those that were kept none counts any more"
    store.close()


def test_the_tricks_of_a_teacher_are_held_too(folder, make_study, make_record, edit):
    keys = {"tricks": {"distillation": {"teacher": {"tricks": {"solo": {"kind": "a"}}}}}}
    study = make_study(**keys)
    store, _ = opened(folder, study)
    teacher = study.tricks["distillation"].fields["teacher"]
    teacher = teacher[0] if isinstance(teacher, list) else teacher
    store.add([make_record(0, study.recipe({"distillation": {"teacher": teacher}}))])
    assert set(store.fact(SOURCES)) == {"distillation", "solo"}
    store.close()
    edit("solo", "1.0 *", "2.0 *")
    with pytest.raises(InputError, match="the code of 'solo' has changed since 1 of the 1 records"):
        opened(folder, study)


def text_hash(file):
    return hashlib.sha256(file.read_text().encode()).hexdigest()[:16]


def test_a_run_that_told_tricks_by_their_text_goes_on(folder, ran, edit, tmp_path):
    """Its marks are replaced by those of the code, which words change no more."""
    files = {name: tmp_path / "own_tricks" / f"{name}.py" for name in ("left", "right", "solo")}
    store = Store.at(folder / "store.db")
    store.put_fact(SOURCES, {name: text_hash(file) for name, file in files.items()})
    store.close()
    store, told = opened(folder, ran)
    assert told == []
    assert all(mark.startswith("code:") for mark in store.fact(SOURCES).values())
    store.close()
    edit("solo", "scale", "scales")
    opened(folder, ran)[0].close()


def test_a_run_that_told_tricks_by_their_text_says_what_it_does_not_know(folder, ran, edit, tmp_path):
    store = Store.at(folder / "store.db")
    store.put_fact(SOURCES, {"solo": text_hash(tmp_path / "own_tricks" / "solo.py")})
    store.close()
    edit("solo", "scale", "scales")
    with pytest.raises(InputError, match=r"the file of 'solo' has changed since 2 .*whether it is code or words"):
        opened(folder, ran)
    store, _ = opened(folder, ran, "keep")
    assert len(store.records()) == 6
    store.close()


def test_a_run_with_an_earlier_text_of_a_built_in_trick_goes_on(folder, make_study, make_record):
    """Of those it is known which code they had."""
    study = make_study(tricks=["cosine"])
    code = source_hash(discover()["cosine"])
    store, _ = opened(folder, study)
    store.add([make_record(0, study.recipe({"cosine": {}}))])
    store.put_fact(SOURCES, {"cosine": next(mark for mark, known in EARLIER.items() if known == code)})
    store.close()
    store, told = opened(folder, study)
    assert (told, store.fact(SOURCES)["cosine"]) == ([], code)
    store.close()


def test_a_call_that_is_broken_off_changes_nothing(folder, ran, edit, monkeypatch):
    """Records and notes go in one transaction: `keep` may still be chosen, and no note tells of what did not happen."""
    edit("solo", "1.0 *", "2.0 *")
    with monkeypatch.context() as patch:
        patch.setattr("tricksearch.store.store._put", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            opened(folder, ran, "set-aside")
    with StoredRun.open(folder) as run:
        assert run.store.records_set_aside() == []
        assert not run.store.fact(CODE_CHANGES)
    store, _ = opened(folder, ran, "set-aside")
    assert len(store.fact(CODE_CHANGES)) == 1
    assert ids(store.records_set_aside()) == ["1.1", "2"]
    store.close()
