"""What a study says of its phases and of its verdicts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tricksearch.contract import InputError, nearest
from tricksearch.trial.document import problem
from tricksearch.trial.record import MEASURES
from tricksearch.trial.settings import Settings

Phase = Literal["screen", "search", "ablate", "confirm"]
PHASES: tuple[Phase, ...] = ("screen", "search", "ablate", "confirm")  # they run in this order
MARGINS = {"accuracy": 0.2, "f1": 0.2}  # points; see VerdictSettings
OTHER_MARGIN = 5.0  # percent of the value


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
    design: Literal["auto", "full", "fractional", "plackett_burman"] = "auto"
    sequential: bool = Field(True, description="stop when every trick is decided, looking after each block of runs")
    short_epochs: int | None = Field(
        None, ge=1, description="screen also with so many epochs, and tell which tricks then change"
    )


class AblateSettings(Settings):
    """Arms around one recipe, really run, each with so many fresh seeds."""

    around: str = Field("knee", description="knee, best (in the first objective), a record's id, or a recipe's file")
    seeds: int = Field(5, ge=2, le=10_000, description="runs of each arm")
    arms: tuple[Literal["leave_one_out", "add_one_in", "ladder", "pairs"], ...] = Field(
        ("leave_one_out", "add_one_in", "ladder"), min_length=1
    )


class ConfirmSettings(Settings):
    """Recipes of the front, the baseline and the minimal recipe on fresh seeds, and on the test split."""

    seeds: int = Field(5, ge=2, le=10_000, description="runs of each recipe")
    recipes: int = Field(6, ge=1, le=1000, description="members of the front, at most: the knee and those beside it")


class VerdictSettings(Settings):
    """What counts as a difference, and how sure one wants to be."""

    confidence: float = Field(0.95, ge=0.5, lt=1, description="1 - the error rate over all tricks together")
    power: float = Field(0.8, gt=0.1, lt=1, description="the chance to see an effect as large as the margin")
    margins: Annotated[dict[str, float], AfterValidator(_margins)] = Field(
        default_factory=dict,
        description="the smallest difference that matters: points for accuracy and f1, else percent of the value",
    )

    def margin(self, measure: str) -> float:
        """The margin of a measure: points for percentages, percent of the value for all others."""
        return self.margins.get(measure, MARGINS.get(measure, OTHER_MARGIN))
