"""Rungs: the epochs after which a training tells how far it has come, and may be ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tricksearch.contract import TrialError
from tricksearch.records.record import STOPPED, Record


class Stopped(TrialError):
    """The training was ended at a rung. The report of a rung raises it, and its text becomes the record's reason."""

    status = STOPPED


@dataclass(frozen=True)
class Rungs:
    """`tell(epoch, accuracy)` is called after each of these epochs (from 1), and may raise Stopped.

    The accuracy is in percent, of the float net over all validation images.
    """

    epochs: frozenset[int]
    tell: Callable[[int, float], None]


@dataclass(frozen=True)
class Progress:
    """What a trial tells at a rung."""

    epoch: int  # that has just ended, from 1
    measures: dict[str, float]  # `accuracy` of the float net, and what could be foreseen of the deployable
    record: Record  # the trial's, if it ends here: status "stopped", all but the reason

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, as it crosses from a worker."""
        return {"epoch": self.epoch, "measures": self.measures, "record": self.record.to_json()}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Progress:
        """The inverse of `to_json`."""
        return cls(row["epoch"], dict(row["measures"]), Record.from_json(row["record"]))


Report = Callable[[Progress], None]
