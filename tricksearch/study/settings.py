"""Settings of a study beyond a recipe's: search, early stopping, phases, verdicts."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from tricksearch.contract import InputError, nearest
from tricksearch.records.measures import MEASURES
from tricksearch.records.settings import Settings, problem

QUALITIES = ("accuracy", "f1")  # both are known by the float net's accuracy at a rung

Phase = Literal["screen", "search", "ablate", "confirm"]
PHASES: tuple[Phase, ...] = ("screen", "search", "ablate", "confirm")  # they run in this order
POINTS_MARGIN, OTHER_MARGIN = 0.2, 5.0  # points of a percentage, percent of any other value; see VerdictSettings


def _in_order(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    if not phases:
        raise problem("a study needs a phase", f"choose from {', '.join(PHASES)}")
    if len(set(phases)) != len(phases):
        raise problem("a phase is named twice", "name each of them once")
    if list(phases) != sorted(phases, key=PHASES.index):
        raise problem(
            f"the phases run as {', '.join(sorted(phases, key=PHASES.index))}, whatever the order here",
            "write them in that order",
        )
    return phases


def named_phases(text: str) -> tuple[Phase, ...]:
    """Phases as the command line names them, in their order. Raises InputError for a name that is none.

    >>> named_phases("search, screen")
    ('screen', 'search')
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in PHASES:
            raise InputError(f"there is no phase '{name}'", place="--phases", remedy=nearest(name, PHASES))
    if not names:
        raise InputError("no phase is named", place="--phases", remedy=f"choose from {', '.join(PHASES)}")
    return tuple(name for name in PHASES if name in names)


def _margins(margins: dict[str, float]) -> dict[str, float]:
    for name, margin in margins.items():
        if name not in MEASURES:
            raise problem(f"there is no metric '{name}'", nearest(name, MEASURES))
        if not margin > 0:
            raise problem(
                f"the margin of {name} is {margin:g}: nothing could ever be shown to be equivalent",
                "give the smallest difference that would matter to you, which is above 0",
            )
    return margins


Phases = Annotated[tuple[Phase, ...], AfterValidator(_in_order)]


class ScreenSettings(Settings):
    """A designed experiment over all tricks at their recommended values, before the search."""

    runs: int = Field(48, ge=4, le=100_000, description="trials of the screen, at most")
    design: Literal["auto", "full", "fractional", "plackett_burman"] = Field(
        "auto",
        description="which two-level design; auto: full factorial where it fits, else a fraction of resolution V, else "
        "Plackett and Burman's, folded over",
    )
    sequential: bool = Field(True, description="stop when every trick is decided, looking after each block of runs")
    short_epochs: int | None = Field(
        None, ge=1, description="screen also with so many epochs, and tell what longer training changes"
    )


class AblateSettings(Settings):
    """Arms around one recipe, really run, each with so many fresh seeds."""

    around: str = Field("knee", description="knee, best (in the first objective), a record's id, or a recipe's file")
    seeds: int = Field(5, ge=2, le=10_000, description="runs of each arm")
    arms: tuple[Literal["leave_one_out", "add_one_in", "ladder", "pairs"], ...] = Field(
        ("leave_one_out", "add_one_in", "ladder"),
        min_length=1,
        description="leave_one_out: the recipe without each of its tricks; add_one_in: each trick alone; ladder: from "
        "the baseline to the recipe, one trick at a time; pairs: two tricks at a time",
    )


class ConfirmSettings(Settings):
    """Recipes of the front, the baseline and the minimal recipe on fresh seeds, and on the test split."""

    seeds: int = Field(5, ge=2, le=10_000, description="runs of each recipe")
    recipes: int = Field(
        6,
        ge=1,
        le=1000,
        description="members of the front, at most, and of the search's own where an ablation changed it",
    )


class VerdictSettings(Settings):
    """What counts as a difference, and how sure one wants to be."""

    confidence: float = Field(0.95, ge=0.5, lt=1, description="1 - the error rate over all tricks together")
    power: float = Field(0.8, gt=0.1, lt=1, description="the chance to see an effect as large as the margin")
    margins: Annotated[dict[str, float], AfterValidator(_margins)] = Field(
        default_factory=dict,
        description="the smallest difference that matters, by measure: points for accuracy and f1 (0.2 where it is "
        "left out), else percent of the value (5)",
    )

    def margin(self, measure: str) -> float:
        """The margin of a measure: points for percentages, percent of the value for all others."""
        return self.margins.get(measure, POINTS_MARGIN if MEASURES[measure].percent else OTHER_MARGIN)


class StoppingSettings(Settings):
    """Which trainings are ended early."""

    rule: Literal["nondominated", "accuracy_in_band", "none"] = Field(
        "nondominated",
        description="nondominated: rank by all objectives; accuracy_in_band: by accuracy among rivals of similar cost",
    )
    eta: int = Field(3, ge=2, le=10, description="one in eta goes on at a rung; the next one is eta times as far")
    min_epochs: int | None = Field(
        None, ge=1, description="the first rung; null: the epochs of a training / eta^2, rounded up"
    )
    min_rivals: int = Field(6, ge=1, description="others that must have come to a rung before one is stopped there")
    band: float = Field(
        1.25, ge=1, le=100, description="accuracy_in_band: rivals cost at most this many times as much, or as little"
    )

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """The epochs, from 1, after which a training of so many is looked at; the last one is none of them.

        >>> StoppingSettings().rungs(200), StoppingSettings(min_epochs=5).rungs(15), StoppingSettings().rungs(1)
        ((23, 69), (5,), ())
        """
        if self.rule == "none":
            return ()
        first = self.min_epochs or math.ceil(epochs / self.eta**2)
        count = next(count for count in range(64) if first * self.eta**count >= epochs)
        return tuple(first * self.eta**step for step in range(count))


def _written_out(given: Any) -> Any:
    return {} if given is None else {"rule": given} if isinstance(given, str) else given


# `stopping: nondominated` is short for a mapping with that rule.
StoppingField = Annotated[StoppingSettings, BeforeValidator(_written_out)]


class SearchSettings(Settings):
    """How much is searched, and by what."""

    trials: int = Field(40, ge=1, le=1_000_000, description="trials in all, the baseline among them")
    workers: int | None = Field(None, ge=1, le=4096, description="trials at a time; null: what the machine holds")
    sampler: Literal["auto", "tpe", "nsga2", "nsga3", "gp", "random", "qmc", "grid", "local"] = Field(
        "auto", description="what proposes recipes; auto: local search around the front, guided by a model"
    )
    startup: int = Field(12, ge=0, description="recipes drawn at random before the sampler learns from records")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the search and of its trainings")
    seeds: Annotated[int, Field(ge=1, le=1000)] | Literal["adaptive"] = Field(
        1, description="runs of each recipe; adaptive: more of those whose place on the front is in doubt"
    )
    reproducible: bool = Field(False, description="ask in batches of `workers`: the same sequence again and again")
    epochs: float | None = Field(None, gt=0, description="no trial starts after so many epochs in all")
    hours: float | None = Field(None, gt=0, description="no trial starts after so many hours")
    gpu_hours: float | None = Field(None, gt=0, description="no trial starts after so many GPU-hours")
    stall: int | None = Field(None, ge=1, description="no trial starts when so many did not move the hypervolume")
    gpus: float | None = Field(
        None, ge=0, le=1, description="the part of a GPU that a trial takes, which trains on one; null: 1 on cuda"
    )
    memory_gib: float | None = Field(None, gt=0, description="what a trial's process may hold; null: no limit")
    first: tuple[Any, ...] = Field((), description="recipes to try before all others: tricks, or a recipe's file")
    learn_from: tuple[str, ...] = Field((), description="folders of earlier runs that the sampler learns from")
    stopping: StoppingField = Field(StoppingSettings(rule="none"), description="which trainings are ended early")
