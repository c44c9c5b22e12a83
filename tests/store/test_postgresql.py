"""Stores in a real PostgreSQL, started for these tests alone: unprivileged, on a Unix socket, with passwords."""

import getpass
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import sqlalchemy
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tricksearch.contract import InputError, discover
from tricksearch.store.facts import SCHEMA_NUMBER, STUDY, Fact
from tricksearch.store.folder import open_study, read_records, read_store
from tricksearch.store.schema import SCHEMA
from tricksearch.store.store import Store
from tricksearch.study.store_url import namespace, without_password

PASSWORD = "swordfish-7"
MARK: Fact[int] = Fact("mark")
names = (f"tests {number}" for number in itertools.count())


def programs():
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def unprivileged():
    """How to start a process as somebody whom PostgreSQL lets run a server."""
    if os.geteuid() != 0:
        return {}, getpass.getuser()
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}, name
    return None, ""


@pytest.fixture(scope="module")
def server():
    """The URL of an empty database, with its password; the server is stopped after the last test."""
    pytest.importorskip("psycopg", reason="pip install 'tricksearch[postgresql]'")
    bin_folder, (as_user, user) = programs(), unprivileged()
    if bin_folder is None:
        pytest.skip("no PostgreSQL to test with: apt-get install postgresql")
    if as_user is None:
        pytest.skip("PostgreSQL does not run as root, and there is no user 'nobody'")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: a socket's path takes 107 bytes
    options = {"cwd": folder, "capture_output": True, "text": True, "timeout": 300} | as_user
    control = [bin_folder / "pg_ctl", "-D", folder / "data", "-w", "-s"]
    try:
        (folder / "password").write_text(PASSWORD)
        for path in (folder, folder / "password"):
            shutil.chown(path, user)
        making = ["-D", folder / "data", "-U", "tester", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run([bin_folder / "initdb", *making, f"--pwfile={folder / 'password'}"], check=True, **options)
        starting = f"-c listen_addresses='' -k {folder} -c fsync=off"
        # The server keeps the descriptors that it is started with: a pipe would never end.
        quiet = options | {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*control, "-l", folder / "log", "-o", starting, "start"], check=True, **quiet)
        try:
            yield f"postgresql+psycopg://tester:{PASSWORD}@/postgres?host={folder}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, **options)
    finally:
        shutil.rmtree(folder)


small = st.integers(0, 3)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["record", "report", "fact"]), small, small, texts, numbers), max_size=8))
def test_it_reads_as_what_was_written(server, follow, written):
    store = Store(server, namespace(next(names)), hold=True)
    follow(store, written)
    store.close()


def test_one_database_holds_many_studies(server, make_record, make_study):
    odd = ["plain", "Plain", "mit Leer'zeichen %s", "数字", "x" * 90, "x" * 91]
    recipe = make_study().base_recipe()
    for name in odd:
        with_name = Store(server, namespace(name), hold=True)
        with_name.add([make_record(0, recipe, reason=name)])
        with_name.close()
    for name in odd:
        store = Store(server, namespace(name))
        assert [record.reason for record in store.records()] == [name]
        assert store.fact(SCHEMA_NUMBER) == SCHEMA
        store.close()


def test_the_largest_seed_fits(server, make_record, make_study):
    from dataclasses import replace

    store = Store(server, namespace(next(names)))
    store.add([replace(make_record(0, make_study().base_recipe()), seed=2**32 - 1)])
    assert store.records()[0].seed == 2**32 - 1
    store.close()


HOLDER = """
import sys, time
from tricksearch.store.store import Store
store = Store(sys.argv[1], sys.argv[2], hold=True)
print("held", flush=True)
time.sleep(600)
"""


def test_a_holder_shuts_others_out_until_it_dies(server):
    name = namespace(next(names))
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, server, name], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {holder.pid} on {socket.gethostname()}") as told:
            Store(server, name, hold=True)
        assert PASSWORD not in str(told.value)
        Store(server, name).close()  # a report may be written meanwhile
        Store(server, namespace(next(names)), hold=True).close()  # another study is free
    finally:
        holder.kill()
        holder.wait()
    end = time.monotonic() + 300
    while True:
        try:
            Store(server, name, hold=True).close()
            break
        except InputError:
            assert time.monotonic() < end, "the dead process still holds the store"
            time.sleep(0.05)
    Store(server, name, hold=True).close()  # closing gave it back too


def test_a_holder_whose_session_is_lost_writes_no_more(server, make_record, make_study):
    name, base = namespace(next(names)), make_study().base_recipe()
    store = Store(server, name, hold=True)
    store.add([make_record(0, base)])
    administrator = sqlalchemy.create_engine(server)
    with administrator.begin() as connection:
        others = "from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'"
        connection.exec_driver_sql(f"select pg_terminate_backend(pid) {others}")
    administrator.dispose()
    later = [make_record(1, base.model_copy(update={"tricks": {"any": {}}}))]
    for _ in range(2):
        with pytest.raises(InputError, match="the same command"):
            store.add(later)
    store.close()
    again = Store(server, name, hold=True)
    assert again.count() == 1
    again.add(later)
    again.close()


def test_a_folder_finds_its_store_and_another_folder_the_same_study(server, tmp_path, make_study, monkeypatch):
    study = make_study(store=server, name="shared")
    registry = discover(study.plugins)
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    store, _ = open_study(here, study, registry)
    store.put_fact(MARK, 1)
    with pytest.raises(InputError, match=r"another run is using this study's store \(process \d+ on "):
        open_study(there, study, registry)
    store.close()
    other, told = open_study(there, make_study(store=server, name="shared", search={"trials": 7}), registry)
    assert (other.fact(MARK), told) == (1, ["search.trials was 40 and is 7"])
    other.close()
    with pytest.raises(InputError, match="this store holds another study") as refused:
        open_study(tmp_path, make_study(store=server, name="shared", train={"epochs": 3}), registry)
    assert "another name" in str(refused.value)
    assert PASSWORD not in str(refused.value)

    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    found = read_store(here)
    assert found.fact(MARK) == 1
    found.close()
    assert PASSWORD not in (here / "store.json").read_text()
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(InputError, match="password authentication failed"):
        read_store(here)


def test_a_study_learns_from_another_in_its_database_with_its_own_password(server, tmp_path, make_study, monkeypatch):
    study = make_study(store=server, name="earlier")
    (tmp_path / "run").mkdir()
    store, _ = open_study(tmp_path / "run", study, discover(study.plugins))
    store.put_fact(SCHEMA_NUMBER, 2)
    monkeypatch.delenv("PGPASSWORD", raising=False)
    with pytest.raises(InputError, match="has schema 2"):
        read_records(tmp_path / "run", server)
    assert store.fact(SCHEMA_NUMBER) == 2
    store.put_fact(SCHEMA_NUMBER, SCHEMA)
    assert read_records(tmp_path / "run", server) == []
    store.close()
    with pytest.raises(InputError, match="PGPASSWORD"):
        read_records(tmp_path / "run", server.replace("/postgres?", "/another?"))
    with pytest.raises(InputError, match="read-only transaction"):
        Store(server, namespace("earlier"), read_only=True).put_fact(MARK, 1)


def test_a_run_keeps_its_store_there_and_tells_nobody_the_password(server, tmp_path):
    study = {
        "store": server,
        "data": {"name": "digits", "validation": 0.3, "test": 0.3, "train_images": 40},
        "net": {"widths": [8], "blocks": 1},
        "train": {"epochs": 1, "batch_size": 20},
        "latency": {"seconds": 0.05, "precision": 0.5, "block_seconds": 0.001},
        "tricks": {"label_smoothing": None},
        "search": {"trials": 1},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    ran = subprocess.run(
        [sys.executable, "-c", "from tricksearch.cli import main; main()", "run", "study.yaml", "--local"],
        cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
        env={key: value for key, value in os.environ.items() if key != "PGPASSWORD"},
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    run = tmp_path / "runs" / "study"
    assert not (run / "store.db").exists()
    assert yaml.safe_load((run / "study.resolved.yaml").read_text())["store"] == without_password(server)
    assert (run / "report.html").stat().st_size > 0
    texts = [ran.stdout, *(path.read_bytes().decode(errors="replace") for path in run.rglob("*") if path.is_file())]
    assert len(texts) > 8
    assert not any(PASSWORD in text for text in texts)
    store = Store(server, namespace("study"))
    assert store.count() == 1
    assert PASSWORD not in str(store.fact(STUDY))
    store.close()


def test_records_are_set_aside_with_their_facts_or_not_at_all(server, tmp_path, make_study, make_record, monkeypatch):
    study = make_study(store=server, name="aside")
    (tmp_path / "run").mkdir()
    store, _ = open_study(tmp_path / "run", study, discover(study.plugins))
    records = [make_record(0, study.base_recipe()), make_record(1, study.recipe({"solo": {"kind": "a"}}))]
    for record in records:
        store.add([record])
    with monkeypatch.context() as patch:
        patch.setattr("tricksearch.store.store._put", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.set_aside(records[1:], {MARK: 7})
    assert (len(store.records()), store.fact(MARK)) == (2, None)
    store.set_aside(records[1:], {MARK: 7})
    assert [record.trial for record in store.records()] == [0]
    assert [record.trial for record in store.records_set_aside()] == [1]
    assert store.fact(MARK) == 7
    store.add([make_record(2, study.recipe({"solo": {"kind": "a"}}))])  # its recipe and seed may be run again
    store.close()
