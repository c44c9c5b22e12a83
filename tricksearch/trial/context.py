"""What the stages of one job share, and the note of which of them ran."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from tricksearch.contract import Registry
    from tricksearch.trial.cache import Cache
    from tricksearch.trial.data import DataSet
    from tricksearch.trial.measuring.machine_lock import Machine
    from tricksearch.trial.measuring.runner import Runner

Note = Callable[[str], None]


@dataclass
class JobContext:
    """What the stages of one job share: its tricks, data, cache and machine, and the nets that it has in memory."""

    registry: Registry
    data: DataSet
    cache: Cache
    machine: Machine
    runner: Runner
    note: Note = lambda text: None
    tester: Runner | None = None  # where the test split is read too: the process that holds its images
    fresh: int | None = None  # the number of the trial, where it takes its latencies anew
    nets: dict[str, nn.Module] = field(default_factory=dict)  # by the key of their stage
    failed: dict[str, Exception] = field(default_factory=dict)  # likewise: what fails once fails for each variant


class StageLog:
    """Which stages of a variant ran, and which came from the cache."""

    def __init__(self) -> None:
        self._ran: set[str] = set()
        self._known: dict[str, None] = {}

    def ran(self, stage: str) -> None:
        """A stage is run."""
        self._ran.add(stage)

    def known(self, *stages: str) -> None:
        """Stages came from the cache."""
        self._known |= dict.fromkeys(stages)

    @property
    def reused(self) -> list[str]:
        """The stages that came from the cache and were not run."""
        return [stage for stage in self._known if stage not in self._ran]
