"""Which trials run again: those that lost their process, and those that ran out of memory beside others."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection

from tricksearch.trial.job import Job

OUT_OF_MEMORY = "out_of_memory"
RETRIES = 2  # a trial that takes its process down each time is the trial's fault, not the machine's
REASON_LETTERS = 300  # of each loss, in a record


class Retries:
    """Decides, and holds the jobs that wait. A job is handed out again as it was: number, recipe, seed, variants."""

    def __init__(self) -> None:
        self._again: deque[Job] = deque()
        self._alone: deque[Job] = deque()
        self._losses: dict[int, list[str]] = defaultdict(list)
        self._had_company: set[int] = set()  # trials beside which another ran at some time
        self._had_memory_alone: set[int] = set()  # trials that have been, or are, retried alone
        self._has_machine: int | None = None  # the trial that runs alone just now

    def __len__(self) -> int:
        """Jobs that wait to be handed out again."""
        return len(self._again) + len(self._alone)

    def holds(self, running: Collection[int]) -> bool:
        """Whether nothing may start while these trials run: one waits to be alone, or is."""
        return bool(running) and (bool(self._alone) or self._has_machine in running)

    def next(self) -> Job | None:
        """The job to hand out before any new one. To be asked while nothing `holds`."""
        if self._alone:
            job = self._alone.popleft()
            self._has_machine = job.trial
            return job
        self._has_machine = None
        return self._again.popleft() if self._again else None

    def started(self, trial: int, running: Collection[int]) -> None:
        """Hear that a trial was handed out while these others run."""
        if running:
            self._had_company |= {trial, *running}

    def out_of_memory(self, job: Job) -> bool:
        """Whether a trial that ran out of memory is kept, to run once more with nothing beside it.

        One beside which nothing ran would meet the same end again.
        """
        if job.trial not in self._had_company or job.trial in self._had_memory_alone:
            return False
        self._had_memory_alone.add(job.trial)
        self._alone.append(job)
        return True

    def lost(self, job: Job, status: str, reason: str) -> str | None:
        """Keep a trial whose process was lost, and return None; or give the reason to record: that of each loss."""
        losses = self._losses[job.trial]
        losses.append(reason[:REASON_LETTERS])
        if status == OUT_OF_MEMORY:
            kept = self.out_of_memory(job)
        else:
            kept = len(losses) <= RETRIES
            if kept:
                (self._alone if job.trial in self._had_memory_alone else self._again).append(job)
        if kept:
            return None
        if len(losses) == 1:
            return losses[0]
        return f"lost {len(losses)} times: " + "; ".join(f"({n}) {loss}" for n, loss in enumerate(losses, 1))
