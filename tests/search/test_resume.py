"""Real runs on Ray, ended in every way a run can end, and gone on with by the same command."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil

TRIALS = 40  # enough that a run is still going when it is looked at: each takes a fifth of a second
STUDY = {
    "data": {"name": "digits", "validation": 0.3, "test": 0.3, "train_images": 40},
    "net": {"widths": [8], "blocks": 1},
    "train": {"epochs": 2, "batch_size": 20},
    "latency": {"blocks": 3, "block_seconds": 0.01},
    "search": {"trials": TRIALS, "startup": 4, "workers": 2},
}


class Run:
    """One `tricksearch run` in a process group of its own, as a shell would start it."""

    def __init__(self, folder, study):
        self.store = folder / "run" / "store.db"
        command = [sys.executable, "-c", "from tricksearch.cli import main; main()", "run", str(study)]
        self.process = subprocess.Popen(
            [*command, "--out", str(folder / "run")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.workers = []

    def wait_for(self, count):
        """Wait until the store holds `count` records, and note which of Ray's processes train."""
        end = time.monotonic() + 180
        while len(rows(self.store)) < count:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, f"only {len(rows(self.store))} records after three minutes"
            time.sleep(0.05)
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.workers = [child for child in family if "Trainable" in " ".join(child.cmdline())]
        self.servers = {address for process in family for address in listening(process)}

    def end(self, timeout=120):
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


def listening(process):
    try:
        return {each.laddr.ip for each in process.net_connections(kind="tcp") if each.status == psutil.CONN_LISTEN}
    except psutil.Error:  # it has ended meanwhile
        return set()


def rows(store):
    if not store.exists():
        return []
    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=10) as connection:
            return connection.execute("select trial, recipe_key, record from records order by trial").fetchall()
    except sqlite3.OperationalError:
        return []  # the tables are being made


def test_interrupt_kill_and_terminate_lose_nothing_and_repeat_nothing(tmp_path, make_study):
    make_study(**STUDY)
    study = tmp_path / "study.yaml"

    first = Run(tmp_path, study)
    first.wait_for(3)
    os.killpg(first.process.pid, signal.SIGINT)  # Ctrl-C reaches the whole group
    code, _, err = first.end()
    assert code == 130
    assert "same command" in err
    assert "Traceback" not in err
    after_interrupt = rows(first.store)

    second = Run(tmp_path, study)
    second.wait_for(len(after_interrupt) + 3)
    second.process.send_signal(signal.SIGKILL)
    second.process.wait()
    after_kill = rows(second.store)
    assert second.servers
    assert {address.removeprefix("::ffff:") for address in second.servers} == {"127.0.0.1"}
    assert second.workers
    _, alive = psutil.wait_procs(second.workers, timeout=60)
    assert not alive, "workers go on training after their driver was killed"

    third = Run(tmp_path, study)
    third.wait_for(len(after_kill) + 2)
    third.process.send_signal(signal.SIGTERM)
    assert third.end()[0] == 130
    after_term = rows(third.store)

    last = Run(tmp_path, study)
    code, out, err = last.end(timeout=240)
    assert (code, err) == (0, "")
    assert f"[{TRIALS}/{TRIALS}]" in out
    final = rows(last.store)

    for earlier, later in ((after_interrupt, after_kill), (after_kill, after_term), (after_term, final)):
        assert set(earlier) <= set(later), "a stored record was lost or changed"
    assert [trial for trial, _, _ in final] == list(range(TRIALS))
    assert max(Counter(key for _, key, _ in final).values()) == 1
    assert {'"status": "finished"' in record for _, _, record in final} == {True}
    for name in ("records.parquet", "front.csv", "best.yaml", "study.resolved.yaml", "report.html", "run.log"):
        assert (tmp_path / "run" / name).stat().st_size > 0


WORKER_KILLER = '''"""killer: kill the process that trains.

Paper: none
Use when: testing.
Avoid when: not testing.
Cost: everything.
"""
import os, signal
from dataclasses import dataclass
from tricksearch import Trick


@dataclass(frozen=True)
class Killer(Trick):
    """Kills its own process."""

    def loss(self, loss, bench):
        os.kill(os.getpid(), signal.SIGKILL)
        return loss
'''


def test_a_trial_that_kills_its_worker_is_tried_again_and_then_recorded(tmp_path, make_study):
    (tmp_path / "own_tricks" / "killer.py").write_text(WORKER_KILLER)
    make_study(**STUDY | {"tricks": ["killer"], "search": {"trials": 5, "workers": 1}})
    run = Run(tmp_path, tmp_path / "study.yaml")
    code, out, err = run.end(timeout=300)
    assert (code, err) == (0, "")
    recorded = rows(run.store)
    assert len(recorded) == 2  # the space has two recipes: with the trick and without
    assert "lost 3 times: (1) the worker was lost" in recorded[1][2]
    assert "died" in recorded[1][2]  # Ray's own words
    assert "failed" in out


def test_the_death_of_ray_s_own_server_ends_the_run_and_no_trial_is_blamed(tmp_path, make_study):
    make_study(**STUDY)
    run = Run(tmp_path, tmp_path / "study.yaml")
    run.wait_for(1)
    family = psutil.Process(run.process.pid).children(recursive=True)
    (raylet,) = [process for process in family if Path(process.cmdline()[0]).name == "raylet"]
    raylet.kill()
    code, _, err = run.end(timeout=90)
    assert code == 1
    assert "the same command goes on" in " ".join(err.split())
    kept = rows(run.store)
    assert 0 < len(kept) < TRIALS
    assert {'"status": "finished"' in record for _, _, record in kept} == {True}


def test_a_worker_that_cannot_go_on_ends_the_run(tmp_path, make_study):
    full = WORKER_KILLER.replace("os.kill(os.getpid(), signal.SIGKILL)", "raise OSError(28, 'No space left')")
    (tmp_path / "own_tricks" / "killer.py").write_text(full)
    make_study(**STUDY | {"tricks": ["killer"], "search": {"trials": 5, "workers": 1}})
    run = Run(tmp_path, tmp_path / "study.yaml")
    code, _, err = run.end(timeout=300)
    assert code == 2
    assert "the disk is full" in err
    assert "Traceback" not in err
    assert len(rows(run.store)) == 1  # the baseline, which had finished, is kept
