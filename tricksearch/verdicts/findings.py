"""What a study has found out, apart from its records: verdicts, the front's members, the minimal recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tricksearch.verdicts.verdict import Verdict


@dataclass(frozen=True)
class Mean:
    """A mean over runs with its t interval at 95 %; the bounds are None for a single run, or where none differ."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Member:
    """A recipe that was confirmed, or could be: the baseline, a member of the front, the minimal recipe."""

    record: str  # its first record's id
    role: Literal["baseline", "front", "minimal", "ablated"]
    tricks: tuple[str, ...]
    # Of being on the front of what was confirmed, by fresh seeds; None where that is in doubt, or cannot be told.
    chance: float | None
    seen: dict[str, Mean]  # each objective as the baseline, screen and search saw it, on the validation split
    fresh: dict[str, Mean]  # each objective on fresh seeds, on the validation split; empty where it was not confirmed
    test: Mean | None  # accuracy on the test split, fresh seeds, percent
    searched: bool = False  # on the front when the search ended, and chosen there to be confirmed


@dataclass(frozen=True)
class Gap:
    """By how much the search flattered what it chose, in points of accuracy, the mean over the confirmed front.

    That front is the one at the end of the search: what an ablation then pushed off it was flattered most.

    `optimism` is what the search saw minus fresh seeds on the same split: the winner's curse. What was made of one
    training counts once. `split` is validation minus test, both on fresh seeds, of each recipe that was confirmed: how
    much easier the validation images are.
    """

    optimism: Mean  # over trainings
    split: Mean  # over recipes
    recipes: int  # of the front
    seen: float  # percent: `optimism` is the one minus the other
    fresh: float


@dataclass(frozen=True)
class Minimal:
    """The recipe without the tricks whose effect is not shown."""

    around: str  # the id of the record that it was made from, or the recipe's file
    recipe: dict[str, Any]  # the minimal one, as a record has it
    tricks: tuple[str, ...]
    dropped: tuple[str, ...]
    verdicts: tuple[Verdict, ...]  # minimal against the whole, one for each objective
    holds: bool  # it was run and is equivalent to the whole, or better, on each objective
    why: str = ""  # where it does not hold


Change = Literal["same", "sign changes", "effect fades", "effect appears", "gains", "loses", "undecided"]


@dataclass(frozen=True)
class Shift:
    """A trick's effect on accuracy at the short and at the full budget, and what longer training makes of it."""

    trick: str
    short: Verdict
    full: Verdict
    change: Verdict  # on the effect at the full budget minus that at the short one
    says: Change


@dataclass(frozen=True)
class Findings:
    """Everything that the records of a study show."""

    design: str = ""  # of the screen
    verdicts: tuple[Verdict, ...] = ()
    order: tuple[str, ...] = ()  # the ladder's tricks, from the baseline to the recipe that was ablated
    members: tuple[Member, ...] = ()
    gap: Gap | None = None
    minimal: Minimal | None = None
    shifts: tuple[Shift, ...] = ()
    confounders: tuple[str, ...] = ()  # sentences
    notes: tuple[str, ...] = ()  # what could not be decided, why, and what to change: sentences
    simulated: bool = False  # no trial of it was real
    incomplete: bool = False  # a trick is not installed here, so no verdict could be given
