"""Runs of a small study in processes of their own, which tests interrupt and kill."""

import sqlite3
import subprocess
import sys
import time

import psutil

TRIALS = 50  # enough that a run is still going when it is looked at: each takes a fifth of a second
STUDY = {
    "data": {"name": "digits", "validation": 0.3, "test": 0.3, "train_images": 40},
    "net": {"widths": [8], "blocks": 1},
    "train": {"epochs": 2, "batch_size": 20},
    "latency": {"seconds": 0.05, "precision": 0.5, "block_seconds": 0.001},
    "search": {"trials": TRIALS, "startup": 4, "workers": 2},
}
# The same without training: for what happens to processes and records, whatever a trial does.
SIMULATED = {
    "trial": "simulated",
    "simulation": {"seconds": 0.2, "measures": {"accuracy": {"base": 80, "sd": 2}, "latency_ms": {"base": 1, "sd": 9}}},
    "search": STUDY["search"],
}


class Run:
    """One `tricksearch run` in a process group of its own, as a shell would start it."""

    def __init__(self, folder, study, *arguments):
        self.store = folder / "run" / "store.db"
        command = [sys.executable, "-c", "from tricksearch.cli import main; main()", "run", str(study)]
        self.process = subprocess.Popen(
            [*command, "--out", str(folder / "run"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.workers = []

    def wait_for(self, count):
        """Wait until the store holds `count` records."""
        end = time.monotonic() + 600
        while len(rows(self.store)) < count:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, f"only {len(rows(self.store))} records after ten minutes"
            time.sleep(0.05)

    def look(self):
        """Note which of Ray's processes train, and where any of them listens; trials go on meanwhile."""
        end = time.monotonic() + 300
        while not self.workers and self.process.poll() is None and time.monotonic() < end:
            family = psutil.Process(self.process.pid).children(recursive=True)
            # Ray names a worker after its actor once the actor is there.
            self.workers = [child for child in family if "Trainable" in " ".join(_command(child))]
        self.servers = {address for process in family for address in listening(process)}

    def end(self, timeout=600):
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


def _command(process):
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended meanwhile
        return []


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
