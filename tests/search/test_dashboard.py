"""The mirror as Optuna reads it, and the dashboard over it as a browser does."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace

import optuna
import psutil
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from tricksearch.contract import InputError, discover
from tricksearch.search.dashboard import OptunaMirror, serve, write_mirror
from tricksearch.store.folder import open_store
from tricksearch.store.run import StoredRun


@pytest.fixture
def run(tmp_path, make_study, make_record):
    """A run folder, and what opens its store with a study, and makes the record of a trial with some tricks."""
    folder = tmp_path / "run"
    folder.mkdir()

    def opened(**keys):
        study = make_study(name="mirrored", **keys)

        def record(number, tricks, accuracy=90.0, latency=1.0, **others):
            made = make_record(number, study.recipe(tricks), accuracy, latency, **others)
            return replace(made, started="2026-03-01T12:00:00+00:00", wall_seconds=90.0, hardware={"cpu": "Xeon"})

        return open_store(folder, study, discover(study.plugins)), record

    return folder, opened


def trials(path):
    (study,) = optuna.get_all_study_summaries(f"sqlite:///{path}")
    return optuna.load_study(study_name=study.study_name, storage=f"sqlite:///{path}")


def test_every_record_becomes_a_finished_trial(run):
    folder, opened = run
    store, record = opened(constraints=["latency_ms <= 1.1 * baseline"])
    store.add([record(0, {}, 91.5, 2.0, phase="baseline")])
    tricks = {"left": {"factor": 0.75}, "solo": {"kind": "b"}}
    store.add([record(1, tricks, 92.5, 3.0), record(1, {"solo": {"kind": "b"}}, 90.5, 1.5, variant=1)])
    store.add([record(2, {"right": {"kind": "a"}}, status="diverged", reason="the loss was nan")])
    store.add([record(3, {"right": {"kind": "b"}}, status="stopped", reason="behind 8 of 12")])
    store.close()
    path, count = write_mirror(folder)
    assert (path, count) == (folder / "optuna.db", 5)
    found = trials(path)
    assert [direction.name for direction in found.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert found.metric_names == ["accuracy [%]", "latency_ms"]
    states = [trial.state for trial in found.trials]
    assert states == [TrialState.COMPLETE] * 3 + [TrialState.FAIL, TrialState.PRUNED]
    assert [trial.values for trial in found.trials] == [[91.5, 2.0], [92.5, 3.0], [90.5, 1.5], None, None]
    one = found.trials[1]
    assert one.params == {"side": "left", "left.factor": 0.75, "solo": "on", "solo.kind": "b"}
    assert one.distributions["left.factor"] == FloatDistribution(0.5, 2.0)
    assert one.distributions["side"] == CategoricalDistribution(("off", "left", "right"))
    assert (one.datetime_complete - one.datetime_start).total_seconds() == 90
    about = found.trials[2].user_attrs
    assert {key: about[key] for key in ("record", "status", "seed", "variant", "hardware", "tricks")} == {
        "record": "1.1", "status": "finished", "seed": 0, "variant": 1, "hardware": "Xeon", "tricks": "solo",
    }  # fmt: skip
    assert found.trials[3].user_attrs["reason"] == "the loss was nan"
    # Trial 1 is the most accurate, and breaks the limit of 2.2 ms.
    assert {trial.user_attrs["record"] for trial in found.best_trials} == {"0", "1.1"}
    assert sorted(path.name for path in folder.iterdir()) == ["optuna.db", "store.db"]


def test_it_follows_the_store_and_begins_anew_with_another_space(run, tmp_path):
    folder, opened = run
    store, record = opened(tricks=["left", "solo"])
    store.add([record(0, {}), record(0, {"left": {"factor": 1.9}}, variant=1)])
    mirror = OptunaMirror(StoredRun(folder, store), tmp_path / "mirror.db")
    assert mirror.update() == 0
    store.add([record(1, {"solo": {"kind": "a"}})])
    assert mirror.update() == 1
    assert [trial.user_attrs["record"] for trial in trials(tmp_path / "mirror.db").trials] == ["0", "0.1", "1"]
    store.close()
    store, record = opened(tricks={"left": {"factor": [0.5, 1.0]}, "right": None, "solo": None})
    assert mirror.update() == 3
    found = trials(tmp_path / "mirror.db").trials
    assert found[0].distributions["side"] == CategoricalDistribution(("off", "left", "right"))
    assert found[1].params == {}  # the domain no longer holds its 1.9
    assert found[1].user_attrs["recipe"] == {"left": {"factor": 1.9}}
    assert found[1].values == [90.0, 1.0]
    mirror.close()
    store.close()


def test_a_bound_that_waits_for_the_baseline_holds_for_what_came_before_it(run, tmp_path):
    folder, opened = run
    store, record = opened(constraints=["latency_ms <= 1.1 * baseline"])
    store.add([record(1, {"solo": {"kind": "a"}}, 92.5, 3.0)])  # the baseline's worker was lost: it runs again
    mirror = OptunaMirror(StoredRun(folder, store), tmp_path / "mirror.db")

    def best():
        return {trial.user_attrs["record"] for trial in trials(tmp_path / "mirror.db").best_trials}

    assert best() == {"1"}
    store.add([record(0, {}, 91.5, 2.0, phase="baseline")])
    assert mirror.update() == 2
    assert best() == {"0"}, "trial 1 breaks the limit of 2.2 ms"
    store.add([record(2, {"solo": {"kind": "b"}}, 95.0, 2.1)])
    assert mirror.update() == 1
    assert best() == {"0", "2"}
    mirror.close()
    store.close()


def test_records_that_are_set_aside_are_not_shown_any_more(run, tmp_path):
    folder, opened = run
    store, record = opened()
    solo = record(1, {"solo": {"kind": "a"}})
    store.add([record(0, {})])
    store.add([solo])
    mirror = OptunaMirror(StoredRun(folder, store), tmp_path / "mirror.db")
    store.set_aside([solo], {})
    mirror.update()
    assert [trial.user_attrs["record"] for trial in trials(tmp_path / "mirror.db").trials] == ["0"]
    mirror.close()
    store.close()


def test_what_cannot_be_served_is_said(run, monkeypatch, tmp_path):
    folder, opened = run
    with pytest.raises(InputError, match=r"no 'store\.db'"):
        write_mirror(folder)
    opened()[0].close()
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(InputError, match=r"pip install 'tricksearch\[dashboard\]'"):
        serve(folder, 0, print)
    (tmp_path / "own_tricks" / "solo.py").unlink()
    with pytest.raises(InputError, match="the study's trick 'solo' is not here"):
        write_mirror(folder)
    assert not (folder / "optuna.db").exists()


def test_the_dashboard_shows_a_run_that_goes_on(run):
    pytest.importorskip("optuna_dashboard", reason="pip install 'tricksearch[dashboard]'")
    folder, opened = run
    store, record = opened()
    store.add([record(0, {}, 91.5)])
    command = [
        sys.executable,
        "-c",
        "from tricksearch.cli import main; main()",
        "dashboard",
        str(folder),
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        address = line.split(": ")[1].split()[0]
        assert address.startswith("http://127.0.0.1:")

        def shown():
            with urllib.request.urlopen(f"{address}api/studies/1?after=0", timeout=120) as answer:
                return [trial["values"] for trial in json.load(answer)["trials"]]

        assert shown() == [[91.5, 1.0]]
        listening = {
            each.laddr.ip for each in psutil.Process(process.pid).net_connections("tcp") if each.status == "LISTEN"
        }
        assert listening == {"127.0.0.1"}
        store.add([record(1, {"solo": {"kind": "a"}}, 95.5)])
        end = time.monotonic() + 300
        while len(shown()) < 2:
            assert time.monotonic() < end, "the new record is not shown"
            time.sleep(0.2)
        assert shown()[1] == [95.5, 1.0]
        with pytest.raises(InputError, match="cannot be used: Address already in use"):
            serve(folder, int(address.rsplit(":")[-1].strip("/")), print)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err) == (0, "")
    assert "has ended" in out
    store.close()
