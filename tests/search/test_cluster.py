"""A study on three real Ray nodes that share nothing but this machine; one is killed, one comes late."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from tricksearch.search.shipping import export_run
from tricksearch.trial.cache import Cache

TRIALS = 4
PATIENCE = 240  # seconds for the whole test, on a machine that is busy with others
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
        end = time.monotonic() + 200
        while not Path(os.environ["GATE"]).exists() and time.monotonic() < end:
            bench.machine.step_aside()  # all nodes are one machine: another one's stopwatch may want it
            time.sleep(0.05)
        return loss
'''


# Ray's processes listen on the loopback address alone where it takes itself for being on a system without clusters;
# only its command line then refuses to add a node.
RAY_START = """import types
from ray.scripts import scripts
scripts.ray_constants = types.SimpleNamespace(**vars(scripts.ray_constants) | {"ENABLE_RAY_CLUSTER": True})
scripts.main()"""


class Node:
    """One `ray start` with its raylet and workers, in a folder that holds nothing of the study."""

    def __init__(self, name, folder, environment, *arguments):
        self.folder = folder / name
        self.folder.mkdir()
        self.marks_file = self.folder / "marks"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", RAY_START, "start", "--block", "--node-ip-address=127.0.0.1"),
                # A folder of its own: nodes of one machine would unpack what travels into one place.
                *(f"--temp-dir={self.folder / 'ray'}", "--object-store-memory=80000000", "--disable-usage-stats"),
                *arguments,
            ],
            cwd=self.folder,
            env=environment | {"TRICKSEARCH_NODE_CACHE": str(self.folder / "kept"), "NODE_MARKS": str(self.marks_file)},
            stdout=(self.folder / "log").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def marks(self):
        return [line.split() for line in self.marks_file.read_text().splitlines()] if self.marks_file.exists() else []

    def family(self):
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def kill(self):
        """SIGKILL to all its processes, as when the machine loses its power."""
        kill(self.family())
        self.process.wait()


def listening(node):
    found = set()
    for process in node.family():
        with contextlib.suppress(psutil.Error):
            connections = process.net_connections(kind="tcp")
            found |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    return {address.removeprefix("::ffff:") for address in found}


def kill(processes):
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()  # psutil looks whether the pid is still that process
    psutil.wait_procs(processes, timeout=10)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(address, node, patience=60):
    host, _, port = address.rpartition(":")
    end = time.monotonic() + patience
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=1):
                return
        except OSError:
            assert node.process.poll() is None, (node.folder / "log").read_text()
            assert time.monotonic() < end, "the head did not come up"
            time.sleep(0.1)


@pytest.fixture
def cluster():
    """A head without CPUs, a way to add nodes and a way to start a driver; ends all their processes."""
    folder = Path(tempfile.mkdtemp(prefix="tsc-", dir="/tmp"))  # short: Ray's sockets lie below it
    address = f"127.0.0.1:{free_port()}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "HOME": str(folder),
        "GATE": str(folder / "gate"),
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # A node that is gone is known to be gone at once; a node that is slow is not taken for one.
        "RAY_health_check_initial_delay_ms": "0",
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_timeout_ms": "10000",
        "RAY_health_check_failure_threshold": "2",
        "RAY_memory_usage_threshold": "1.0",
    }
    started: list[Node] = []
    drivers: list[subprocess.Popen] = []

    def node(name, *arguments):
        where = arguments or (f"--address={address}", "--num-cpus=1")
        started.append(Node(name, folder, environment | {"RAY_AUTH_MODE": "token"}, *where))
        return started[-1]

    def drive(study, *arguments):
        command = [sys.executable, "-c", "from tricksearch.cli import main; main()", "run", study.name]
        drivers.append(
            subprocess.Popen(
                [*command, "--address", address, *arguments],
                cwd=study.parent,
                env=environment | {"TRICKSEARCH_NODE_CACHE": str(folder / "driver")},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return drivers[-1]

    node("head", "--head", f"--port={address.rpartition(':')[2]}", "--num-cpus=0", "--include-dashboard=false")
    try:
        wait_for_port(address, started[0])
        yield node, drive, folder
    finally:
        left = [psutil.Process(each.pid) for each in drivers if each.poll() is None]
        left += [process for each in started for process in each.family()]
        left += [child for each in left for child in each.children(recursive=True)]
        kill(left)
        # Ray's agents outlive the raylet that they watch.
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("GATE") == str(folder / "gate"):
                    process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(true, what, driver, end, log):
    while not true():
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < end, f"{what} did not happen in time\n{log.read_text() if log.exists() else ''}"
        time.sleep(0.05)


def test_a_node_is_lost_and_one_comes_late_and_each_trial_finishes_once(cluster, tmp_path):
    add_node, drive, folder = cluster
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
        "latency": {"blocks": 3, "block_seconds": 0.005},
        "plugins": ["own"],
        "tricks": {"mark": {"use": "always"}},
        "variants": "none",
        "search": {"trials": TRIALS, "startup": 2},
    }
    (home / "study.yaml").write_text(yaml.safe_dump(study))
    log = home / "runs" / "study" / "run.log"
    first, second = add_node("first"), add_node("second")
    driver = drive(home / "study.yaml")

    # Both nodes hold a trial at the gate; then one is gone, and what it held must run on the node that comes late.
    wait_until(lambda: first.marks() and second.marks(), "a trial on each of two nodes", driver, end, log)
    ((level, plugin),) = first.marks()
    assert str(home) not in plugin, "the plugin did not travel"
    first.kill()
    late = add_node("late")
    wait_until(late.marks, "a trial on the node that came late", driver, end, log)
    assert {address for node in (second, late) for address in listening(node)} == {"127.0.0.1"}
    assert late.marks()[0][0] == level, "not the lost trial was handed out first"
    (folder / "gate").touch()
    said, _ = driver.communicate(timeout=max(1, end - time.monotonic()))
    assert driver.returncode == 0, said

    with sqlite3.connect(home / "runs" / "study" / "store.db") as store:
        rows = [json.loads(row) for (row,) in store.execute("select record from records order by trial")]
    assert [(row["trial"], row["status"]) for row in rows] == [(trial, "finished") for trial in range(TRIALS)]
    assert {tuple(row["recipe"]["plugins"]) for row in rows} == {(str(home / "own"),)}
    levels = [str(row["recipe"]["tricks"]["mark"]["level"]) for row in rows[1:]]
    ran = [mark for node in (first, second, late) for mark, _ in node.marks()]
    assert sorted(ran) == sorted([*levels, level]), "another trial than the lost one ran twice, or one not at all"

    # What was made came home: what follows needs no node.
    for node in (second, late):
        assert list((node.folder / "kept" / "data" / "data").iterdir()), "the data did not travel"
        node.kill()
    stages = [each.stage for each in Cache(home / "runs" / "study" / "cache").usage()]
    assert {stage: stages.count(stage) for stage in ("train", "deploy", "score")} == dict.fromkeys(
        ("train", "deploy", "score"), TRIALS
    )
    with contextlib.chdir(home):
        export_run(Path("runs/study"), "best", tmp_path / "shipped")
    assert (tmp_path / "shipped" / "model.onnx").is_file()
