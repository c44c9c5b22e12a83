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
    """The verdicts, with those of the minimal recipe and of both budgets, each once, by comparison and trick."""
    verdicts = [*findings.verdicts, *(findings.minimal.verdicts if findings.minimal else ())]
    verdicts += [verdict for shift in findings.shifts for verdict in (shift.short, shift.change)]
    comparisons = list(dict.fromkeys([*COMPARISONS, *(verdict.comparison for verdict in verdicts)]))
    tricks = list(
        dict.fromkeys(
            verdict.trick for comparison in comparisons for verdict in verdicts if verdict.comparison == comparison
        )
    )
    steps = {trick: at for at, trick in enumerate(findings.order)}

    def place(verdict: Verdict) -> tuple[int, int]:
        step = steps.get(verdict.trick) if verdict.comparison == "ladder" else None
        return comparisons.index(verdict.comparison), tricks.index(verdict.trick) if step is None else step

    return sorted(dict.fromkeys(verdicts), key=place)


def rows(findings: Findings) -> list[dict[str, Any]]:
    """One row for each verdict, with the keys of COLUMNS in their order; None where there is no number to give.

    Effects, bounds and margins are in `unit`: points for percentages, else percent of the value. `low` and `high` are
    adjusted over the tricks of the comparison (Holm 1979), `low_alone` and `high_alone` are not.
    """
    return [
        {
            "comparison": verdict.comparison,
            "trick": verdict.trick,
            "measure": verdict.measure,
            "verdict": verdict.says,
            "effect": verdict.effect,
            "low": verdict.low,
            "high": verdict.high,
            "unit": unit(verdict.measure),
            "n": verdict.n,
            "margin": verdict.margin,
            "low_alone": verdict.low_alone,
            "high_alone": verdict.high_alone,
            "p": verdict.p,
            "p_adjusted": verdict.p_adjusted,
            "power": verdict.power,
            "more": verdict.more,
            "more_for": verdict.more_for,
            "simulated": findings.simulated,
            "why": verdict.why,
        }
        for verdict in every_verdict(findings)
    ]
