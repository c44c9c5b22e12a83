"""The record: everything measured on one variant, or the reason why there is nothing to measure."""

from __future__ import annotations

import copy
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from tricksearch.records.measures import MEASURES
from tricksearch.records.recipe import Recipe

FINISHED = "finished"
REJECTED = "rejected"  # it breaks a bound whatever its training gives, so it was not trained
STOPPED = "stopped"  # its training was ended early: others were ahead of it
SEARCH_PHASES = ("baseline", "search")
FRONT_PHASES = (*SEARCH_PHASES, "screen", "ablate")  # whose records compete: of one budget, and not kept for the end
NORMAL = 1.96  # standard errors to either side of a 95 % interval
STATUSES = (FINISHED, "failed", "diverged", "out_of_memory", REJECTED, STOPPED)


@dataclass(frozen=True)
class Record:
    """One row of a study. A measure is None where the trial did not come to it, or the platform cannot tell."""

    trial: int  # a training and what was made of it
    phase: str  # "baseline", "screen", "fidelity", "search", "ablate" or "confirm"
    status: str
    reason: str
    seed: int
    recipe: dict[str, Any]  # plain JSON; `Recipe` reads it
    measures: dict[str, float] = field(default_factory=dict)  # by their names in MEASURES; what was not taken is absent
    throughputs: dict[str, float] = field(default_factory=dict)  # batch size -> images a second
    validation_images: int | None = None  # the n behind accuracy and f1
    f1_error: float | None = None  # standard error of f1 from the choice of these images alone, points
    test_accuracy: float | None = None  # percent of the test images, which only a confirmation reads
    test_images: int | None = None
    latency_runs: int | None = None  # the n behind the latency
    latency_low_ms: float | None = None  # of the 95 % interval of latency_ms: the timing alone, not the seeds
    latency_high_ms: float | None = None
    latency_rounds: int | None = None  # blocks of calls, each beside one of the baseline's file, that count
    latency_disturbed: float | None = None  # share of the rounds in which other programs had the processor
    latency_note: str = ""  # what the stopwatch could not tell, or what disturbed it
    precision: str = ""  # of the deployable's arithmetic
    form: str = ""  # which form of the deployable was chosen here and why, where a trick had a choice
    graph: str = ""  # a mark of what was timed: records that share it have one graph, called in one way
    timing: dict[str, Any] = field(default_factory=dict)  # the moment of the timing: see trial/latencies.py
    device_ms: float | None = None  # median of a run on a GPU by its own events, images and logits being there
    device_p95_ms: float | None = None
    started: str = ""  # ISO 8601, UTC
    wall_seconds: float | None = None
    hardware: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    variant: int = 0  # 0 is the recipe that was proposed; the others share its training
    keys: dict[str, str] = field(default_factory=dict)  # of its model's stages, where it was made
    reused: list[str] = field(default_factory=list)  # stages that were found in the cache, not run
    effective: dict[str, Any] = field(default_factory=dict)  # what its training was seen to do: training/watch.py
    spent_seconds: float = 0.0  # of training that this record cost: none where its net was known, a teacher's included
    spent_epochs: float = 0.0  # likewise, epochs
    runs: int = 1  # seeds that the measures are the mean of; 1 in every record that is stored
    accuracy_sd: float | None = None  # of these runs, percent; None for one run
    confirmed: int = (
        0  # fresh runs that its measures are the mean of, where it stands by them; 0 in every stored record
    )
    timed_again: dict[str, Any] = field(default_factory=dict)  # latency fields from the front's timing; not stored here
    recipe_key: str = ""  # the recipe's own, which `replace` of the recipe has to empty; worked out where it is empty

    def __post_init__(self) -> None:
        if None in self.measures.values():
            taken = {name: value for name, value in self.measures.items() if value is not None}
            object.__setattr__(self, "measures", taken)
        if not self.recipe_key:
            object.__setattr__(self, "recipe_key", Recipe.model_validate(self.recipe).key)

    def value(self, measure: str) -> float | None:
        """A measure by its name; None where it was not taken. Raises KeyError for what is no measure."""
        if measure not in MEASURES:
            raise KeyError(measure)
        return self.measures.get(measure)

    @property
    def accuracy(self) -> float | None:
        """Top-1 accuracy of the deployable on the validation images, percent."""
        return self.measures.get("accuracy")

    @property
    def latency_ms(self) -> float | None:
        """The median latency, ms."""
        return self.measures.get("latency_ms")

    @property
    def latency_error(self) -> float | None:
        """The standard error that its timing gives the latency, as a share of it; None where that is not known."""
        if self.latency_low_ms is None or self.latency_high_ms is None:
            return None
        return math.log(self.latency_high_ms / self.latency_low_ms) / (2 * NORMAL)

    @property
    def train_seconds(self) -> float | None:
        """Seconds of training, without waiting for others' stopwatches and without a teacher's own training."""
        return self.measures.get("train_seconds")

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

    if not TYPE_CHECKING:  # in notebooks, `record.params` too; the package itself says `value("params")`

        def __getattr__(self, name: str) -> float | None:
            if name in MEASURES:
                return self.measures.get(name)
            raise AttributeError(f"a record has no '{name}'")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, as it crosses from a worker and stands in the store: each measure is a key of its own."""
        row: dict[str, Any] = {}
        for name in _KEPT:
            if name == "measures":
                row |= {measure: self.measures.get(measure) for measure in MEASURES}
            else:
                row[name] = copy.deepcopy(getattr(self, name))
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Record:
        """The record of a JSON row; keys that this version does not know are left out.

        What it has in common with other records, such as the hardware, it shares with them: not to be changed.
        """
        known = {key: value for key, value in row.items() if key in _KEPT and key != "measures"}
        known |= {key: _shared(known[key]) for key in ("hardware", "versions", "effective") if key in known}
        recipe = known["recipe"]
        known["recipe"] = {key: part if key == "tricks" else _shared(part) for key, part in recipe.items()}
        measures = {name: row[name] for name in MEASURES if row.get(name) is not None}
        return cls(measures=measures, **known)


_KEPT = tuple(part.name for part in fields(Record) if part.name not in ("recipe_key", "timed_again", "confirmed"))


def columns() -> list[str]:
    """The keys of a record's row, each measure a key of its own."""
    return [key for name in _KEPT for key in (MEASURES if name == "measures" else (name,))]


_known = functools.lru_cache(maxsize=64)(json.loads)


def _shared(value: Any) -> Any:
    """The same plain JSON, of which there is one copy among the records of a study: most of it is in each of them."""
    return _known(json.dumps(value))


def machine_line(hardware: Mapping[str, Any]) -> str:
    """A record's hardware in one line.

    >>> machine_line({"cpu": "Xeon", "cores": 2, "memory_gib": 23.4, "gpus": [], "system": "Linux x86_64"})
    'Xeon, 2 cores, 23.4 GiB memory, no GPU, Linux x86_64'
    """
    left = dict(hardware)
    parts = [str(left.pop("cpu", ""))]
    if "cores" in left:
        parts.append(f"{left.pop('cores')} cores")
    if "memory_gib" in left:
        parts.append(f"{left.pop('memory_gib')} GiB memory")
    if "gpus" in left:
        parts.append(", ".join(left.pop("gpus")) or "no GPU")
    parts += [str(value) for value in left.values() if value]
    return ", ".join(part for part in parts if part)
