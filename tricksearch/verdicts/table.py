"""Verdicts as rows: verdicts.csv, and what other tables are made from."""

from __future__ import annotations

from typing import Any

from tricksearch.verdicts.findings import Findings
from tricksearch.verdicts.verdict import Verdict
from tricksearch.verdicts.words import COMPARISONS, unit

COLUMNS = (
    *("comparison", "trick", "measure", "verdict", "effect", "low", "high", "unit", "n", "margin"),
    *("low_alone", "high_alone", "p", "p_adjusted", "power", "more", "more_for", "simulated", "why"),
)


def every_verdict(findings: Findings) -> list[Verdict]:
    """The verdicts with those of the minimal recipe and of the short budget, each once, by comparison and trick."""
    own = [*findings.verdicts, *(findings.minimal.verdicts if findings.minimal else ())]
    own += [shift.short for shift in findings.shifts]
    comparisons = list(dict.fromkeys([*COMPARISONS, *(each.comparison for each in own)]))
    tricks = list(
        dict.fromkeys(each.trick for comparison in comparisons for each in own if each.comparison == comparison)
    )
    steps = {trick: at for at, trick in enumerate(findings.order)}

    def place(verdict: Verdict) -> tuple[int, int]:
        step = steps.get(verdict.trick) if verdict.comparison == "ladder" else None
        return comparisons.index(verdict.comparison), tricks.index(verdict.trick) if step is None else step

    return sorted(dict.fromkeys(own), key=place)


def rows(findings: Findings) -> list[dict[str, Any]]:
    """One row for each verdict, with the keys of COLUMNS in their order; None where there is no number to give.

    Effects, bounds and margins are in `unit`: points for percentages, else percent of the value. `low` and `high` are
    adjusted over the tricks of the comparison (Holm 1979), `low_alone` and `high_alone` are not.
    """
    return [
        {
            "comparison": each.comparison,
            "trick": each.trick,
            "measure": each.measure,
            "verdict": each.says,
            "effect": each.effect,
            "low": each.low,
            "high": each.high,
            "unit": unit(each.measure),
            "n": each.n,
            "margin": each.margin,
            "low_alone": each.low_alone,
            "high_alone": each.high_alone,
            "p": each.p,
            "p_adjusted": each.p_adjusted,
            "power": each.power,
            "more": each.more,
            "more_for": each.more_for,
            "simulated": findings.simulated,
            "why": each.why,
        }
        for each in every_verdict(findings)
    ]
