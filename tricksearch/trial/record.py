"""The record: everything measured on one variant, or the reason why there is nothing to measure."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

FINISHED = "finished"
REJECTED = "rejected"  # it breaks a bound whatever its training gives, so it was not trained
STOPPED = "stopped"  # its training was ended early: others were ahead of it
SEARCH_PHASES = ("baseline", "search")
FRONT_PHASES = (*SEARCH_PHASES, "screen", "ablate")  # whose records compete: of one budget, and not kept for the end
STATUSES = (FINISHED, "failed", "diverged", "out_of_memory", REJECTED, STOPPED)


@dataclass(frozen=True)
class Measure:
    """A measured quantity: its unit, whether more of it is better, and how it is named to a person."""

    unit: str
    maximize: bool
    title: str
    digits: int


# What can be an objective or a constraint: every finished trial has it. `device_ms` is none of them: no CPU runtime has
# one, the plain baseline's included, and a trial without a value for an objective counts as failed.
MEASURES: Mapping[str, Measure] = {
    "accuracy": Measure("%", True, "top-1 accuracy", 2),
    "f1": Measure("%", True, "macro F1", 2),
    "latency_ms": Measure("ms", False, "latency, median", 3),
    "latency_p95_ms": Measure("ms", False, "latency, p95", 3),
    "latency_p99_ms": Measure("ms", False, "latency, p99", 3),
    "throughput": Measure("images/s", True, "throughput", 1),
    "memory_bytes": Measure("bytes", False, "peak memory", 0),
    "params": Measure("", False, "parameters", 0),
    "macs": Measure("", False, "multiply-accumulates", 0),
    "file_bytes": Measure("bytes", False, "file size", 0),
    "train_seconds": Measure("s", False, "training time", 2),
}

# The shares by which a reference, before and after, and the blocks of calls may differ while a latency is taken.
DRIFT, SPREAD = 0.02, 0.05
COUNTED = frozenset({"params", "macs", "file_bytes"})  # not measured: what does not vary in them is exact
# Measures that the shape of the graph decides.
FORESEEN = frozenset({"latency_ms", "latency_p95_ms", "latency_p99_ms", "throughput", "memory_bytes", *COUNTED})


@dataclass(frozen=True)
class Record:
    """One row of a study. A measure is None where the trial did not come to it, or the platform cannot tell."""

    trial: int  # a training and what was made of it
    phase: str  # "baseline", "screen", "fidelity", "search", "ablate" or "confirm"
    status: str
    reason: str
    seed: int
    recipe: dict[str, Any]  # plain JSON; `Recipe` reads it
    accuracy: float | None = None  # percent of the validation images, measured on the deployable
    f1: float | None = None  # percent
    latency_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p99_ms: float | None = None
    throughput: float | None = None  # images a second, at the best of the batch sizes in `throughputs`
    throughputs: dict[str, float] = field(default_factory=dict)  # batch size -> images a second
    memory_bytes: int | None = None  # that loading and running the deployable adds, at its peak
    params: int | None = None
    macs: int | None = None  # for one image
    file_bytes: int | None = None
    train_seconds: float | None = None  # without waiting for others' stopwatches, without a teacher's own training
    validation_images: int | None = None  # the n behind accuracy and f1
    test_accuracy: float | None = None  # percent of the test images, which only a confirmation reads
    test_images: int | None = None
    latency_runs: int | None = None  # the n behind the latency
    latency_drift: float | None = None  # reference model, after / before: 1.0 is a machine that held still
    latency_spread: float | None = None  # interquartile range of the blocks' medians / their median
    latency_note: str = ""  # what the stopwatch could not tell
    device_ms: float | None = None  # median of a run on a GPU by its own events, images and logits being there
    device_p95_ms: float | None = None
    started: str = ""  # ISO 8601, UTC
    wall_seconds: float | None = None
    hardware: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    variant: int = 0  # 0 is the recipe that was proposed; the others share its training
    reused: list[str] = field(default_factory=list)  # stages that were found in the cache, not run
    effective: dict[str, Any] = field(default_factory=dict)  # what its training was seen to do; see trial/effective.py
    spent_seconds: float = 0.0  # of training that this record cost: none where its net was known, a teacher's included
    spent_epochs: float = 0.0  # likewise, epochs
    runs: int = 1  # seeds that the measures are the mean of; 1 in every record that is stored
    accuracy_sd: float | None = None  # of these runs, percent; None for one run

    @property
    def id(self) -> str:
        """How a person names it: the trial's number, and behind a dot the variant's."""
        return f"{self.trial}.{self.variant}" if self.variant else str(self.trial)

    @property
    def finished(self) -> bool:
        """Whether every measure was taken."""
        return self.status == FINISHED

    @property
    def tricks(self) -> dict[str, dict[str, Any]]:
        """The tricks that are on, with their values."""
        return dict(self.recipe.get("tricks", {}))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, as it crosses from a worker."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Record:
        """The record of a JSON row; keys that this version does not know are left out.

        What it has in common with other records, such as the hardware, it shares with them: not to be changed.
        """
        known = {each.name for each in fields(cls)}
        found = {key: value for key, value in row.items() if key in known}
        found |= {key: _shared(found[key]) for key in ("hardware", "versions", "effective") if key in found}
        recipe = found["recipe"]
        found["recipe"] = {key: each if key == "tricks" else _shared(each) for key, each in recipe.items()}
        return cls(**found)


_known = functools.lru_cache(maxsize=64)(json.loads)


def _shared(value: Any) -> Any:
    """The same plain JSON, of which there is one copy among the records of a study: most of it is in each of them."""
    return _known(json.dumps(value))


def machine_line(hardware: Mapping[str, Any]) -> str:
    """A record's hardware in one line.

    >>> machine_line({"cpu": "Xeon", "cores": 2, "memory_gib": 23.4, "gpus": [], "system": "Linux x86_64"})
    'Xeon, 2 cores, 23.4 GiB memory, no GPU, Linux x86_64'
    """
    said = dict(hardware)
    parts = [str(said.pop("cpu", ""))]
    if "cores" in said:
        parts.append(f"{said.pop('cores')} cores")
    if "memory_gib" in said:
        parts.append(f"{said.pop('memory_gib')} GiB memory")
    if "gpus" in said:
        parts.append(", ".join(said.pop("gpus")) or "no GPU")
    parts += [str(value) for value in said.values() if value]
    return ", ".join(part for part in parts if part)
