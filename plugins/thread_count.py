"""Thread count: let the runtime split each operator over more than one core.

Paper: none; the limit on the gain, Amdahl 1967, doi 10.1145/1465482.1465560.
Use when: single answers have to be quick and the cores would idle otherwise.
Avoid when: requests come in parallel: a core for each of them gives more answers a second.
Cost: nothing in training; the cores when deployed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from tricksearch import Int, NotApplicable, Runtime, Trick, Workbench

QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(granted: int, quota: str) -> int:
    """Cores that may be busy at once: those `granted` to the process, less where a container has a smaller quota.

    `quota` is the text of cgroup v2's cpu.max: microseconds of computing in a period, or "max", and the period.

    >>> usable_cores(8, "max 100000"), usable_cores(8, "250000 100000"), usable_cores(8, "50000 100000")
    (8, 2, 1)
    """
    share, _, period = quota.partition(" ")
    if not (share.isdigit() and period.strip().isdigit()):
        return granted
    return min(granted, max(1, int(share) // int(period)))


@dataclass(frozen=True)
class ThreadCount(Trick):
    """Loads the file with this many threads, whatever the study times with."""

    claims = "threads"
    after = ("runtime",)
    branches = False

    count: Annotated[int, Int(1, 256, search=False)] = 2  # no more than there are cores; a study narrows it to search

    def runtime(self, runtime: Runtime, bench: Workbench) -> Runtime:
        """Set the threads. Raises NotApplicable where the machine has fewer cores."""
        cores = _cores()
        if self.count > cores:
            raise NotApplicable(f"{self.count} threads need as many cores, and this process may use {cores}")
        return replace(runtime, threads=self.count)

    @classmethod
    def unavailable(cls) -> str | None:
        """There is nothing to choose on one core."""
        return "this process may use one core alone" if _cores() == 1 else None


def _cores() -> int:
    granted = len(os.sched_getaffinity(0))
    try:
        return usable_cores(granted, QUOTA.read_text())
    except OSError:
        return granted
