"""What the benchmarks share: the hardware line, the table of results, subprocesses whose cost is measured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tricksearch.records.hardware import hardware, versions
from tricksearch.records.record import machine_line

ROOT = Path(__file__).resolve().parents[2]  # of the repository
MEMORY_EVERY = 0.5  # seconds between two looks at the memory
NAMED = ("python", "torch", "onnxruntime", "ray", "optuna")


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure, that of a peer, and what was aimed at."""

    what: str
    ours: str
    peer: str = ""
    ratio: str = ""  # peer / ours, unless `what` says otherwise
    target: str = ""
    n: str = ""


@dataclass(frozen=True)
class Finished:
    """A subprocess that has ended: seconds, lines that it printed, and its peak memory if that was watched."""

    seconds: float
    output: str
    peak_bytes: int
    result: dict[str, Any]

    @property
    def lines(self) -> int:
        """Lines on standard output and standard error together."""
        return len(self.output.splitlines())


def hardware_line() -> str:
    """The machine and the versions that the figures hold for. Other load on the machine is part of it."""
    installed = versions()
    packages = ", ".join(f"{name} {installed[name]}" for name in NAMED)
    return f"{machine_line(hardware())}; load average {os.getloadavg()[0]:.1f} before the start; {packages}"


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print a table of results, at full width where the output is no terminal."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("what", "tricksearch", "peer", "peer / tricksearch", "target", "n"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(row.what, row.ours, row.peer, row.ratio, row.target, row.n)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=170)
    console.print(table, markup=False)


def ratio(peer: float, ours: float) -> str:
    """How many times the peer's figure is ours."""
    return f"{peer / ours:.2f} x" if ours else "-"


def run_python(*arguments: str, watch_memory: bool = False) -> Finished:
    """Run `python ARGUMENTS` in the repository's root and wait. Raises RuntimeError with its last lines if it fails.

    The program may write a JSON object to the file that the environment variable BENCHMARK_RESULT names.
    """
    with tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch:
        result, output = Path(scratch) / "result.json", Path(scratch) / "output.txt"
        environment = os.environ | {
            "BENCHMARK_RESULT": str(result),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "PYTHONUNBUFFERED": "1",
        }
        with output.open("wb") as sink:
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=sink, stderr=subprocess.STDOUT
            )
            with _memory_of(process.pid, watch_memory) as peak:
                code = process.wait()
            seconds = time.perf_counter() - start
        text = output.read_text(encoding="utf-8", errors="replace")
        if code != 0:
            raise RuntimeError(f"{' '.join(arguments)} ended with {code}:\n" + "\n".join(text.splitlines()[-15:]))
        result_json = json.loads(result.read_text()) if result.exists() else {}
        return Finished(seconds, text, peak[0], result_json)


def give_result(result: dict[str, Any]) -> None:
    """In a program that `run_python` started: hand back its figures."""
    Path(os.environ["BENCHMARK_RESULT"]).write_text(json.dumps(result))


@contextlib.contextmanager
def _memory_of(root: int, watch: bool) -> Any:
    """Sample the memory of a process and all its descendants until the block ends; yields [peak in bytes].

    It is the sum of PSS, in which a page that k processes share counts 1/k in each: libraries that many workers
    have mapped are counted once, which a sum of RSS would count for every worker.
    """
    peak, over = [0], threading.Event()

    def look() -> None:
        while watch and not over.wait(MEMORY_EVERY):
            peak[0] = max(peak[0], _tree_pss(root))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def _tree_pss(root: int) -> int:
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        main = psutil.Process(root)
        for process in (main, *main.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += process.memory_full_info().pss
    return total
