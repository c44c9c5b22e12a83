"""The words, units and digits of verdicts, for the page, the terminal and the tables."""

from __future__ import annotations

from tricksearch.records.measures import MEASURES
from tricksearch.verdicts.findings import Member
from tricksearch.verdicts.verdict import EQUIVALENT, HELPS, HURTS, UNDECIDED, Verdict

# The title of each comparison, and what its effects compare; in the order in which they are reported.
COMPARISONS = {
    "screen": ("Screen", "with the trick against without it, over all settings of the other tricks"),
    "leave_one_out": ("Leave-one-out", "the whole recipe against the recipe without the trick"),
    "add_one_in": ("Add-one-in", "the baseline with the trick against the plain baseline"),
    "ladder": ("Ladder", "each step against the one below it, from the baseline to the recipe"),
    "interaction": ("Interactions", "how much more both tricks do together than each by itself, over all others"),
    "pair": ("Pairs", "both tricks together on the plain baseline against the sum of each alone"),
    "minimal": ("Minimal recipe", "the minimal recipe against the whole one"),
    "confirmed": ("Confirmed recipes", "the recipe against the plain baseline, both on the confirmation's fresh seeds"),
    "fidelity": ("Short budget", "with the trick against without it, trained for a shorter time"),
    "budget": ("Longer training", "the trick's effect at the full budget minus that at the short one"),
}
PAIRED = ("interaction", "pair")  # the effects of two tricks on each other


def unit(measure: str) -> str:
    """The unit of an effect on this measure: "points" or "%"."""
    return "points" if MEASURES[measure].percent else "%"


def noun(measure: str) -> str:
    """The name of a measure in a sentence."""
    return MEASURES[measure].noun


def number(value: float, measure: str) -> str:
    """A bound or a margin without its unit, with the digits of its measure.

    >>> number(-0.004, "accuracy"), number(4.96, "latency_ms")
    ('0.00', '5.0')
    """
    return f"{value:z.{2 if MEASURES[measure].percent else 1}f}"


def amount(value: float, measure: str) -> str:
    """A signed effect with its unit.

    >>> amount(0.42, "accuracy"), amount(-27.04, "latency_ms")
    ('+0.42 points', '-27.0 %')
    """
    return f"{value:+z.{2 if MEASURES[measure].percent else 1}f} {unit(measure)}"


def interval(low: float | None, high: float | None, measure: str) -> str:
    """The bounds in brackets; empty where there is no interval.

    >>> interval(0.18, 0.66, "accuracy"), interval(None, None, "accuracy")
    ('[0.18, 0.66]', '')
    """
    if low is None or high is None:
        return ""
    return f"[{number(low, measure)}, {number(high, measure)}]"


def ablated_name(around: str) -> str:
    """The name of what was ablated: a record, by its id, or a recipe's file."""
    return f"record {around}" if around.replace(".", "", 1).isdigit() else around


def interval_of(verdict: Verdict, none: str = "none") -> str:
    """The adjusted interval; "exact" where the effect was decided without one, `none` where it is undecided."""
    if verdict.low is None or verdict.high is None:
        return none if verdict.says == UNDECIDED else "exact"
    return interval(verdict.low, verdict.high, verdict.measure)


def verdict_word(verdict: Verdict) -> str:
    """The verdict in a word; a pair does not help or hurt, it is more or less than its sum."""
    if verdict.comparison not in PAIRED:
        return verdict.says
    return {HELPS: "synergy", HURTS: "redundancy", EQUIVALENT: "adds up"}.get(verdict.says, verdict.says)


def chance_text(member: Member) -> str:
    """How sure a confirmed recipe is of its place on the front; "" for one that was not confirmed, or is not of it."""
    if member.chance is not None:
        return f"{100 * member.chance:.0f} %"
    return "in doubt" if member.fresh and member.role == "front" else ""
