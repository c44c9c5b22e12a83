"""What a person sees while a study runs: a live view in a terminal, plain lines elsewhere, nothing with --quiet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tricksearch.cli import formats
from tricksearch.cli.terminal import Terminal
from tricksearch.records.averages import RecipeMeans
from tricksearch.records.constraints import baseline_of
from tricksearch.records.record import STOPPED, Record
from tricksearch.search.observer import Observer
from tricksearch.study.study import Study
from tricksearch.trial.job import Job

FRONT_ROWS = 8


class Progress(Observer):
    """Follows a run."""

    def __init__(self, terminal: Terminal, folder: Path, quiet: bool) -> None:
        self._terminal, self._folder, self._quiet = terminal, folder, quiet
        self._records: list[Record] = []
        self._means = RecipeMeans()
        self._running: dict[int, Job] = {}
        self._live: Live | None = None
        self._fresh = 0
        self._phase, self._before, self._total = "", 0, 0
        self.why = ""  # the search ended before its last trial

    def begins(self, study: Study, records: list[Record], workers: str) -> None:
        """Say what starts, and go on from what is stored."""
        self._study, self._records, self._clock = study, list(records), time.monotonic()
        self._means = RecipeMeans(records)
        self._terminal.log_to(self._folder / "run.log")
        _log(f"study {study.name}: {formats.count(self._trials, 'trial')} stored; {workers}")
        if self._quiet:
            return
        console = self._terminal.console
        size = f"phases {', '.join(study.phases)}" if self._phases else f"{study.search.trials} trials"
        console.print(f"Study [bold]{study.name}[/]: {size} on {workers}; log in {self._folder / 'run.log'}")
        if study.trial == "simulated":
            console.print("Simulated: nothing is trained, and no figure of it is real.", style="bold")
        if records:
            to_go = "" if self._phases else f", {max(0, study.search.trials - self._trials)} trials to go"
            console.print(f"{formats.count(len(records), 'record')} of an earlier run kept{to_go}")
        if console.is_terminal and (self._phases or self._trials < study.search.trials):
            self._live = Live(
                self,
                console=console,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def changed(self, changes: Sequence[str], outside: int) -> None:
        """Say what is not as the last run left it."""
        line = f"The study changed since its last run: {'; '.join(changes)}."
        if outside:
            line += f" {formats.count(outside, 'record')} of the earlier space kept, and not told to the sampler."
        _log(line)
        if not self._quiet:
            self._terminal.console.print(line, markup=False, soft_wrap=True)

    def entered(self, phase: str, done: int, total: int) -> None:
        """A phase begins, or is longer than was known."""
        if phase != self._phase:
            self._phase, self._before = phase, self._trials - done
            self._clock, self._fresh = time.monotonic(), 0
        self._total = total
        if self._phases:
            line = f"Phase {phase}: {done} of {formats.count(total, 'trial')} stored."
            _log(line)
            if not self._quiet and self._live is None:
                self._terminal.console.print(line, markup=False)

    def started(self, job: Job) -> None:
        """A trial was handed out."""
        self._running[job.trial] = job

    def recorded(self, records: Sequence[Record]) -> None:
        """The records of one trial have been stored."""
        own, *variants = records
        self._running.pop(own.trial, None)
        self._records += records
        self._means.add(records)
        self._fresh += 1
        for record in records:
            _log(formats.line(record, self._study.objectives))
        if not self._quiet and self._live is None:
            where = f"{self._phase} " if self._phases else ""
            line = f"[{where}{self._done}/{self._total}] {formats.line(own, self._study.objectives)}"
            if variants:
                line += f"  (and {formats.count(len(variants), 'variant')})"
            self._terminal.console.print(line, markup=False, soft_wrap=True)

    def timing_front(self, graphs: int) -> None:
        """The front is timed together."""
        line = f"Timing the {formats.count(graphs, 'graph')} on and near the front together, for the last word on them."
        _log(line)
        if not self._quiet:
            self._terminal.console.print(line, markup=False, soft_wrap=True)

    def ended(self, why: str) -> None:
        """A budget is used up."""
        self.why = why
        line = f"No further trial starts: {why}."
        _log(line)
        if not self._quiet:
            self._terminal.console.print(line, markup=False, soft_wrap=True)

    def close(self) -> None:
        """End the live view."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __rich__(self) -> Group:
        """The live view."""
        done, total = self._done, self._total
        stopped = sum(record.status == STOPPED for record in self._records)
        failed = sum(not record.finished for record in self._records) - stopped
        head = Table.grid(padding=(0, 1))
        head.add_row(
            ProgressBar(total=total, completed=done, width=24),
            f"{f'{self._phase}: ' if self._phases else ''}{done}/{total} done, "
            f"{formats.count(len(self._records), 'record')}, {len(self._running)} running, "
            f"{f'{stopped} stopped early, ' if stopped else ''}{failed} failed, {self._time_left(total - done)}",
        )
        means = self._means.means()
        front = self._study.goals.front_of_means(means)
        if not front:
            return Group(head, Text("no trial has finished yet: the first ones also load the libraries", style="dim"))
        baseline = baseline_of(means)
        shown = formats.table(
            front[:FRONT_ROWS],
            self._study.objectives,
            baseline,
            f"Front so far ({formats.count(len(front), 'record')})",
        )
        return Group(head, shown)

    @property
    def _phases(self) -> bool:
        """Whether the study does more than to search."""
        return self._study.phases != ("search",)

    @property
    def _trials(self) -> int:
        return sum(record.variant == 0 for record in self._records)

    @property
    def _done(self) -> int:
        """Trials of this phase."""
        return self._trials - self._before

    def _time_left(self, left: int) -> str:
        if not self._fresh:
            return "time left not known yet"
        seconds = (time.monotonic() - self._clock) / self._fresh
        return f"about {formats.duration(seconds * left)} left"


def _log(line: str) -> None:
    # Standard output is the log while a run has the terminal.
    print(datetime.now().astimezone().isoformat(timespec="seconds"), line, flush=True)
