"""A fault storm: random kill -9 of driver, worker or node during a study of short real trials on a Ray cluster.

A head without CPUs, two nodes with one CPU each, and `tricksearch run --address`, started again with the same
command after each of its deaths; a node that was killed is started again. Run with
    python -m benchmarks storm [--trials 200] [--kills 50] [--seed 0]
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from benchmarks.support.common import Row, hardware_line, print_rows
from benchmarks.support.loopback import Loopback, family, kill

NODES = 2
LIMIT = 1500.0  # seconds, after which the storm gives up and says how far it came
STUDY = """\
data: digits
net: {{widths: [8], blocks: 1}}
train: {{epochs: 3, batch_size: 64}}
latency: {{seconds: 0.2, block_seconds: 0.002}}
tricks: {{label_smoothing: , focal: , mixup: , cutmix: }}
variants: none
search: {{trials: {trials}, startup: 20, sampler: random}}
"""


class Storm:
    """The cluster, the driver, and the faults that they are given."""

    def __init__(self, folder: Path, trials: int) -> None:
        self._study = folder / "storm.yaml"
        self._study.write_text(STUDY.format(trials=trials))
        self.store = folder / "run" / "store.db"
        self._cluster = Loopback(folder)
        self.nodes = [self._cluster.add_node(str(number)) for number in range(NODES)]
        self.driver = self._start_driver()
        self.drivers = 1

    def done(self) -> int:
        """Trials in the store."""
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=10)) as connection,
        ):
            return int(connection.execute("select count(*) from records").fetchone()[0])
        return 0

    def kill(self, what: str, chance: random.Random) -> bool:
        """SIGKILL to a driver, a worker or a node, which is started again; False where there is none just now."""
        if what == "driver":
            self.driver.kill()
            self.driver.wait()
        elif what == "node":
            number = chance.randrange(NODES)
            kill(family(self.nodes[number].pid))
            self.nodes[number].wait()
            self.nodes[number] = self._cluster.add_node(str(number))
        else:
            workers = [record for node in self.nodes for record in family(node.pid) if "Train" in title(record)]
            if not workers:
                return False
            kill([chance.choice(workers)])
        return True

    def go_on(self) -> int | None:
        """Start the driver again where it was killed; its exit code where it ended by itself."""
        code = self.driver.poll()
        if code is None or code >= 0:
            return code
        self.driver = self._start_driver()
        self.drivers += 1
        return None

    def end(self) -> None:
        """Kill everything that is left."""
        self._cluster.end()

    def _start_driver(self) -> subprocess.Popen[bytes]:
        return self._cluster.drive(self._study, "--out", "run", "--quiet")


def title(process: psutil.Process) -> str:
    """Its command line; Ray's workers write there what they run."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def main(arguments: list[str]) -> list[Row]:
    """Run the storm and count what is in the store in the end."""
    parser = argparse.ArgumentParser(prog="storm", description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="leave the folder with its logs")
    asked = parser.parse_args(arguments)
    print(hardware_line())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster must not outlive a storm that is called off
    folder = Path(tempfile.mkdtemp(prefix="tss-", dir="/tmp"))  # short: Ray's sockets lie below it
    storm = Storm(folder, asked.trials)
    start = time.monotonic()
    try:
        killed, code = _rage(storm, asked.trials, asked.kills, random.Random(asked.seed), start + LIMIT)
        seconds = time.monotonic() - start
        rows = _rows(storm, asked.trials, killed, code, seconds)
    finally:
        storm.end()
        if asked.keep:
            print(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print_rows(f"Fault storm: {asked.kills} kill -9 during {asked.trials} trials", rows)
    return rows


def _rage(storm: Storm, trials: int, kills: int, chance: random.Random, end: float) -> tuple[Counter[str], int | None]:
    """Kill at moments that are spread over the study; ends when the driver has ended by itself, or at `end`."""
    # At so many stored trials, and then at any moment of the next second.
    moments = sorted(chance.uniform(0, 0.95 * trials) for _ in range(kills))
    killed: Counter[str] = Counter()
    code = None
    while code is None and time.monotonic() < end:
        time.sleep(0.1)
        if moments and storm.done() >= moments[0]:
            time.sleep(chance.uniform(0, 1))
            what = chance.choice(("driver", "worker", "node"))
            if storm.driver.poll() is None and storm.kill(what, chance):
                moments.pop(0)
                killed[what] += 1
                print(f"{storm.done()} trials stored: {what} killed", flush=True)
        code = storm.go_on()
    return killed, code


def _rows(storm: Storm, trials: int, killed: Counter[str], code: int | None, seconds: float) -> list[Row]:
    with contextlib.closing(sqlite3.connect(storm.store)) as connection:
        numbers = [row[0] for row in connection.execute("select trial from records")]
        status = Counter(row[0] for row in connection.execute("select status from records"))
        recipes = [row[0] for row in connection.execute("select recipe_key from records")]
    n = ", ".join(f"{count} x {what}" for what, count in sorted(killed.items()))
    twice = len(numbers) - len(set(numbers)) + len(recipes) - len(set(recipes))
    return [
        Row("kill -9", str(killed.total()), n=n),
        Row("trials finished", str(status["finished"]), target=str(trials)),
        Row("trials lost", str(trials - status["finished"]), target="0"),
        Row("trials stored twice", str(twice), target="0"),
        Row("driver's last exit code", str(code), target="0"),
        Row("driver started", f"{storm.drivers} times"),
        Row("seconds", f"{seconds:.0f}", target=f"at most {LIMIT:.0f}"),
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
