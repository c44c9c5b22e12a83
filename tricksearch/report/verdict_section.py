"""What the page's section on verdicts prints and draws, as plain data: templates/verdicts.html makes the HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tricksearch.records.measures import MEASURES
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record
from tricksearch.report.view import View
from tricksearch.verdicts.findings import Findings, Mean, Member, Minimal
from tricksearch.verdicts.table import every_verdict
from tricksearch.verdicts.text import recipe_line, sections
from tricksearch.verdicts.verdict import EQUIVALENT, HELPS, HURTS, MOST, UNDECIDED, Verdict
from tricksearch.verdicts.words import (
    COMPARISONS,
    ablated_name,
    amount,
    chance_text,
    interval_of,
    noun,
    number,
    unit,
    verdict_word,
)


def verdict_section(findings: Findings, view: View, records: Sequence[Record]) -> dict[str, Any] | None:
    """The section's parts, by the names that the template uses; None where the findings are empty.

    `records` are all of the study's, `view` is that of their means: a member of the front links to its place there.
    """
    verdicts = every_verdict(findings)
    in_words = sections(findings)
    if not (verdicts or in_words or findings.members):
        return None
    return {
        "comparisons": _comparisons(verdicts, findings.design),
        "digest": _digest(verdicts),
        "table": [_table_row(verdict) for verdict in verdicts],
        "has_notes": any(verdict.why for verdict in verdicts),
        "ladder": _ladder(findings),
        "members": _members(findings.members, view, records),
        "minimal": _minimal(findings.minimal),
        "in_words": in_words,
    }


def forest_data(findings: Findings) -> dict[str, Any]:
    """What verdicts.js draws, as plain JSON: every verdict, and the words for its measure and its comparison."""
    verdicts = every_verdict(findings)
    return {
        "measures": {
            name: {"noun": noun(name), "unit": unit(name), "maximize": MEASURES[name].maximize}
            for name in dict.fromkeys(verdict.measure for verdict in verdicts)
            if name in MEASURES
        },
        "comparisons": {
            key: {"title": title, "about": f"{about[0].upper()}{about[1:]}"}
            for key, (title, about) in COMPARISONS.items()
        },
        "verdicts": [
            {
                "comparison": verdict.comparison,
                "trick": verdict.trick,
                "measure": verdict.measure,
                "says": verdict.says,
                "effect": verdict.effect,
                "low": _finite(verdict.low),
                "high": _finite(verdict.high),
                "word": verdict_word(verdict),
                "n": verdict.n,
                "band": _margin_band(verdict),
                "text": _effect(verdict),
            }
            for verdict in verdicts
        ],
    }


def front_chances(findings: Findings, view: View, records: Sequence[Record]) -> dict[int, float]:
    """The chance that a recipe is on the front, by its place in the view."""
    places = {member.record: _place(member.record, view, records) for member in findings.members}
    return {
        place: member.chance
        for member in findings.members
        if (place := places[member.record]) is not None and member.chance is not None
    }


def _place(record_id: str, view: View, records: Sequence[Record]) -> int | None:
    """Where the view has the recipe of the record of this id: a recipe with several runs is one entry of it."""
    key = next((record.recipe_key for record in records if record.id == record_id), None)
    return next((at for at, record in enumerate(view.records) if record.recipe_key == key), None)


def _finite(bound: float | None) -> float | None:
    """JSON has no infinity."""
    return bound if bound is not None and math.isfinite(bound) else None


def _margin_band(verdict: Verdict) -> tuple[float, float]:
    """The effects within the margin; a margin in percent is as wide on the log scale up as down."""
    margin = verdict.margin
    low = -margin if MEASURES[verdict.measure].percent else 100 / (1 + margin / 100) - 100
    return low, margin


def _effect(verdict: Verdict) -> str:
    if verdict.effect is None:
        return "no effect can be given"
    return f"{amount(verdict.effect, verdict.measure)} {interval_of(verdict, '(no interval)')}"


def _comparisons(verdicts: Sequence[Verdict], design: str) -> list[dict[str, str]]:
    """The choices of the filter by comparison, of which the page shows the first."""
    titles = {
        key: COMPARISONS.get(key, (key, ""))[0] for key in dict.fromkeys(verdict.comparison for verdict in verdicts)
    }
    if design and "screen" in titles:
        titles["screen"] += f" ({design})"
    return [{"key": key, "title": title} for key, title in titles.items()]


def _digest(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """For each measure of the first comparison, which tricks help, hurt and so on."""
    first = [verdict for verdict in verdicts if verdict.comparison == verdicts[0].comparison]
    lines = []
    for measure in dict.fromkeys(verdict.measure for verdict in first):
        groups = []
        for says in (HELPS, HURTS, EQUIVALENT, UNDECIDED):
            alike = [verdict for verdict in first if (verdict.measure, verdict.says) == (measure, says)]
            if alike:
                tricks = ", ".join(verdict.trick for verdict in alike)
                groups.append({"says": says, "word": verdict_word(alike[0]), "tricks": tricks})
        lines.append({"measure": noun(measure), "groups": groups})
    return lines


def _table_row(verdict: Verdict) -> dict[str, Any]:
    more = f"{verdict.more:,}" if verdict.more else ""
    return {
        "comparison": verdict.comparison,
        "trick": verdict.trick,
        "measure": noun(verdict.measure),
        "says": verdict.says,
        "word": verdict_word(verdict),
        "numbers": [
            "-" if verdict.effect is None else amount(verdict.effect, verdict.measure),
            interval_of(verdict),
            f"{number(verdict.margin, verdict.measure)} {unit(verdict.measure)}",
            f"{verdict.n:,}",
            "-" if verdict.power is None else f"{100 * verdict.power:.0f} %",
            f"over {more}" if verdict.more and verdict.more >= MOST else more,
        ],
        "why": verdict.why,
    }


def _ladder(findings: Findings) -> list[dict[str, Any]]:
    """Each step of the ladder with its effects, from the baseline upwards."""
    verdicts = [verdict for verdict in findings.verdicts if verdict.comparison == "ladder"]
    steps: list[dict[str, Any]] = []
    for trick in findings.order:
        effects = [
            {
                "says": verdict.says,
                "word": verdict_word(verdict),
                "measure": noun(verdict.measure),
                "text": _effect(verdict),
                "n": f"{verdict.n:,}",
            }
            for verdict in verdicts
            if verdict.trick == trick
        ]
        if effects:
            steps.append({"trick": trick, "effects": effects, "indent": f"{min(1.2 * (len(steps) + 1), 12):.1f}"})
    return steps


def _members(members: Sequence[Member], view: View, records: Sequence[Record]) -> dict[str, Any] | None:
    """The table of the front's members: the headings of the measures beside accuracy, and the rows."""
    if not members:
        return None
    measured = dict.fromkeys(name for member in members for name in (*member.fresh, *member.seen))
    others = [name for name in measured if name != "accuracy" and name in MEASURES]
    return {
        "measures": [", ".join(part for part in (noun(name), MEASURES[name].unit) if part) for name in others],
        "rows": [_member(member, others, _place(member.record, view, records)) for member in members],
    }


def _member(member: Member, others: Sequence[str], place: int | None) -> dict[str, Any]:
    accuracies = (member.seen.get("accuracy"), member.fresh.get("accuracy"), member.test)
    return {
        "record": member.record,
        "place": place,
        "role": member.role,
        "chance": None if member.chance is None else f"{100 * member.chance:.0f}",
        "certainty": chance_text(member) or "-",
        "means": [
            *(_mean(mean, MEASURES["accuracy"].digits) for mean in accuracies),
            *(_mean(member.fresh.get(name) or member.seen.get(name), MEASURES[name].digits) for name in others),
        ],
        "tricks": "(plain baseline)" if member.role == "baseline" else recipe_line(member.tricks),
    }


def _mean(mean: Mean | None, digits: int) -> dict[str, str] | None:
    if mean is None:
        return None
    interval = "" if mean.low is None or mean.high is None else f"[{mean.low:,.{digits}f}, {mean.high:,.{digits}f}], "
    return {"value": f"{mean.value:,.{digits}f}", "about": f"{interval}n = {mean.n:,}"}


def _minimal(minimal: Minimal | None) -> dict[str, Any] | None:
    """The minimal recipe's file: the recipe that it was made from, without the tricks that can go."""
    if minimal is None:
        return None
    result = (
        "equivalent to the whole or better" if minimal.holds else f"not shown to do as well as the whole: {minimal.why}"
    )
    # In one line, because a line break in the reason would end the comment.
    heading = f"The minimal recipe of {ablated_name(minimal.around)}: {' '.join(result.split())}"
    return {
        "holds": minimal.holds,
        "tricks": recipe_line(minimal.tricks),
        "yaml": Recipe.model_validate(minimal.recipe).to_yaml(heading),
    }
