"""Simulated studies, many of them, over processes."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.support.common import hardware_line

CHUNK = 25  # studies that a process takes at a time

Simulate = Callable[[Callable[[int], Any]], list[Any]]


@contextlib.contextmanager
def simulated_studies(name: str, studies: int, arguments: list[str]) -> Iterator[Simulate]:
    """What runs a function of a seed for each of so many studies, by default `studies`, and returns its results."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}")
    parser.add_argument("--studies", type=int, default=studies)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    print(hardware_line(), flush=True)
    # Matrices of 56 rows are no work to share among threads.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
        yield lambda simulate: list(pool.map(simulate, range(options.studies), chunksize=CHUNK))
