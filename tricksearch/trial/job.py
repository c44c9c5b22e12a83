"""A job: one trial, as it is sent to the process that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tricksearch.records.constraints import Bound
from tricksearch.records.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """One trial to run, in plain JSON: all that crosses to a worker."""

    trial: int
    phase: str
    seed: int
    recipe: dict[str, Any]
    variants: list[dict[str, dict[str, Any]]]  # the tricks of the recipes that share its training
    bounds: list[dict[str, Any]]
    cache: str
    directory: str  # where the study was started: relative paths in the recipe start there
    data: str | None = None  # the digest of the data set that it is to be measured on; None: whatever is there
    memory_gib: float | None = None  # what its process may hold
    gpus: float | None = None  # the part of a GPU that is its own, memory included
    rungs: list[int] = field(default_factory=list)  # the epochs, from 1, after which it reports how far it has come
    simulation: dict[str, Any] | None = None  # what to draw its measures from, where nothing is trained
    fresh: bool = False  # latency and memory are measured for it alone, not taken from a graph of the same shape
    test: bool = False  # the test split is scored too, which nothing else ever reads

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        seed: int = 0,
        *,
        cache: Path,
        variants: Sequence[Recipe] = (),
        bounds: Sequence[Bound] = (),
        **others: Any,
    ) -> Job:
        """The job of a recipe, and of variants that differ from it in their tricks alone; `others` are fields."""
        defaults: dict[str, Any] = {"trial": 0, "phase": "search", "directory": str(Path.cwd())}
        return cls(
            **(defaults | others),
            seed=seed,
            recipe=recipe.model_dump(mode="json"),
            variants=[variant.tricks for variant in variants],
            bounds=[vars(bound) for bound in bounds],
            cache=str(cache),
        )

    def recipes(self) -> list[Recipe]:
        """The trial's own recipe, then those of its variants."""
        own = Recipe.model_validate(self.recipe)
        return [own, *(own.model_copy(update={"tricks": tricks}) for tricks in self.variants)]

    def to_json(self) -> dict[str, Any]:
        """The job as a mapping."""
        return dict(vars(self))
