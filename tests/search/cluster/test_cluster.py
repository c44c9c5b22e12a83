"""A study on three real Ray nodes that share nothing but this machine; one is killed, one comes late."""

import contextlib
import json
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from benchmarks.support.loopback import Loopback, family, kill
from tricksearch.ship.export import export_run
from tricksearch.trial.cache import Cache

TRIALS = 4
PATIENCE = 900  # seconds for the whole test, on a machine that is busy with others
MARK = '''"""mark: say where a training runs, and wait there until the gate is open.

Paper: none
Use when: testing.
Avoid when: not testing.
Cost: none.
"""
import os, time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from tricksearch import Int, Trick


@dataclass(frozen=True)
class Mark(Trick):
    """Leaves a line in the node's own file."""

    level: Annotated[int, Int(1, 1000)] = 1

    def loss(self, loss, bench):
        with open(os.environ["NODE_MARKS"], "a") as marks:
            marks.write(f"{self.level} {__file__}\\n")
        end = time.monotonic() + 800
        while not Path(os.environ["GATE"]).exists() and time.monotonic() < end:
            bench.machine.step_aside()  # all nodes are one machine: another one's stopwatch may want it
            time.sleep(0.05)
        return loss
'''


class Node:
    """One `ray start` with its raylet and workers, which marks in a file of its own what it trains."""

    def __init__(self, cluster, name):
        self._marks = cluster.folder / f"marks-{name}"
        self.kept = cluster.kept(name)
        self.process = cluster.add_node(name, NODE_MARKS=str(self._marks))

    def marks(self):
        return [line.split() for line in self._marks.read_text().splitlines()] if self._marks.exists() else []

    def kill(self):
        """SIGKILL to all its processes, as when the machine loses its power."""
        kill(family(self.process.pid))
        self.process.wait()


def listening(node):
    found = set()
    for process in family(node.process.pid):
        with contextlib.suppress(psutil.Error):
            connections = process.net_connections(kind="tcp")
            found |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    return {address.removeprefix("::ffff:") for address in found}


@pytest.fixture
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="tsc-", dir="/tmp"))  # short: Ray's sockets lie below it
    started = Loopback(folder, GATE=str(folder / "gate"))
    try:
        yield started
    finally:
        started.end()
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(true, what, driver, end, log):
    while not true():
        assert driver.poll() is None, log.read_text()
        assert time.monotonic() < end, f"{what} did not happen in time\n{log.read_text()}"
        time.sleep(0.05)


def test_a_node_is_lost_and_one_comes_late_and_each_trial_finishes_once(cluster, tmp_path):
    end = time.monotonic() + PATIENCE
    source = np.random.default_rng(0)
    home = tmp_path / "home"
    (home / "own").mkdir(parents=True)
    (home / "own" / "mark.py").write_text(MARK)
    np.savez(home / "images.npz", x_train=source.integers(0, 255, (60, 8, 8), np.uint8), y_train=np.arange(60) % 2)
    study = {
        "data": {"name": "npz", "root": "images.npz"},  # relative: the nodes have nothing of that name
        "net": {"widths": [8], "blocks": 1},
        "train": {"epochs": 1, "batch_size": 10},
        "latency": {"seconds": 0.05, "precision": 0.5, "block_seconds": 0.001},
        "plugins": ["own"],
        "tricks": {"mark": {"use": "always"}},
        "variants": "none",
        "search": {"trials": TRIALS, "startup": 2},
    }
    (home / "study.yaml").write_text(yaml.safe_dump(study))
    first, second = Node(cluster, "first"), Node(cluster, "second")
    driver, log = cluster.drive(home / "study.yaml"), cluster.log("driver")

    # Both nodes hold a trial at the gate; then one is gone, and what it held must run on the node that comes late.
    wait_until(lambda: first.marks() and second.marks(), "a trial on each of two nodes", driver, end, log)
    ((level, plugin),) = first.marks()
    assert str(home) not in plugin, "the plugin did not travel"
    first.kill()
    late = Node(cluster, "late")
    wait_until(late.marks, "a trial on the node that came late", driver, end, log)
    assert {address for node in (second, late) for address in listening(node)} == {"127.0.0.1"}
    assert late.marks()[0][0] == level, "not the lost trial was handed out first"
    (cluster.folder / "gate").touch()
    assert driver.wait(timeout=max(1, end - time.monotonic())) == 0, log.read_text()

    with sqlite3.connect(home / "runs" / "study" / "store.db") as store:
        rows = [json.loads(row) for (row,) in store.execute("select record from records order by trial")]
    assert [(row["trial"], row["status"]) for row in rows] == [(trial, "finished") for trial in range(TRIALS)]
    assert {tuple(row["recipe"]["plugins"]) for row in rows} == {(str(home / "own"),)}
    levels = [str(row["recipe"]["tricks"]["mark"]["level"]) for row in rows[1:]]
    ran = [mark for node in (first, second, late) for mark, _ in node.marks()]
    assert sorted(ran) == sorted([*levels, level]), "another trial than the lost one ran twice, or one not at all"

    # What was made came home: what follows needs no node.
    for node in (second, late):
        assert list((node.kept / "data" / "data").iterdir()), "the data did not travel"
        node.kill()
    stages = [each.stage for each in Cache(home / "runs" / "study" / "cache").usage()]
    assert {stage: stages.count(stage) for stage in ("train", "deploy", "score")} == dict.fromkeys(
        ("train", "deploy", "score"), TRIALS
    )
    with contextlib.chdir(home):
        export_run(Path("runs/study"), "best", tmp_path / "shipped")
    assert (tmp_path / "shipped" / "model.onnx").is_file()
