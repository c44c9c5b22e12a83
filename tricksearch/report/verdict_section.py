"""The page's section on verdicts: forest plots, tables, the ladder, the front with its doubt, the minimal recipe."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

from tricksearch.records.measures import MEASURES
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record
from tricksearch.report.view import View
from tricksearch.verdicts.findings import Findings, Mean, Member, Minimal
from tricksearch.verdicts.table import every_verdict
from tricksearch.verdicts.text import SIMULATED, recipe, sections
from tricksearch.verdicts.verdict import EQUIVALENT, HELPS, HURTS, MOST, UNDECIDED, Verdict
from tricksearch.verdicts.words import COMPARISONS, amount, bounds, noun, plain, source, unit, word


def section(findings: Findings, seen: View, records: Sequence[Record]) -> str:
    """The section's HTML, every text of the findings escaped; empty where nothing was found."""
    verdicts = every_verdict(findings)
    said = sections(findings)
    if not (verdicts or said or findings.members):
        return ""
    parts = [
        '<div class="card-head"><h2>Which tricks are worth it</h2>',
        _choice(verdicts, findings.design) + "</div>",
        f'<p class="simulated">{SIMULATED}</p>' if findings.simulated else "",
        _digest(verdicts),
        '<p id="comparison-about" class="quiet"></p><div id="forests"></div>' if verdicts else "",
        _table(verdicts),
        _ladder(findings),
        _members(findings, seen, records),
        _minimal(findings.minimal),
        _sentences(said),
    ]
    return f'<section class="card" id="verdicts" aria-label="Verdicts">{"".join(parts)}</section>'


def drawn(findings: Findings) -> dict[str, Any]:
    """What the section's script draws."""
    return {
        "measures": {
            name: {"noun": noun(name), "unit": unit(name), "maximize": MEASURES[name].maximize}
            for name in dict.fromkeys(each.measure for each in every_verdict(findings))
            if name in MEASURES
        },
        "comparisons": {
            key: {"title": title, "about": f"{about[0].upper()}{about[1:]}"}
            for key, (title, about) in COMPARISONS.items()
        },
        "verdicts": [
            {
                **{"comparison": each.comparison, "trick": each.trick, "measure": each.measure, "says": each.says},
                **{
                    "effect": each.effect,
                    "low": _finite(each.low),
                    "high": _finite(each.high),
                    "word": word(each),
                    "n": each.n,
                },
                **{"band": _band(each), "text": _effect(each)},
            }
            for each in every_verdict(findings)
        ],
    }


def _finite(bound: float | None) -> float | None:
    """JSON knows no infinity."""
    return bound if bound is not None and math.isfinite(bound) else None


def chances(findings: Findings, seen: View, records: Sequence[Record]) -> dict[int, float]:
    """The chance of being on the front, by the place of the record in the view."""
    found = {}
    for each in findings.members:
        place = _place(each.record, seen, records)
        if place is not None and each.chance is not None:
            found[place] = each.chance
    return found


def _place(name: str, seen: View, records: Sequence[Record]) -> int | None:
    """Where the recipe of the record of this id stands; a recipe with several runs stands there once."""
    own = next((each.recipe for each in records if each.id == name), None)
    return next((at for at, each in enumerate(seen.records) if own is not None and each.recipe == own), None)


def _band(verdict: Verdict) -> tuple[float, float]:
    """The effects that are as good as none; a margin in percent is as wide on the log scale up as down."""
    margin = verdict.margin
    low = -margin if MEASURES[verdict.measure].percent else 100 / (1 + margin / 100) - 100
    return low, margin


def _effect(verdict: Verdict) -> str:
    if verdict.effect is None:
        return "no effect can be given"
    return f"{amount(verdict.effect, verdict.measure)} {bounds(verdict, '(no interval)')}"


def _choice(verdicts: Sequence[Verdict], design: str) -> str:
    """The filter by comparison, the first of them chosen."""
    there = list(dict.fromkeys(each.comparison for each in verdicts))
    if not there:
        return ""
    title = {each: COMPARISONS.get(each, (each, ""))[0] for each in there}
    if design and "screen" in title:
        title["screen"] += f" ({design})"
    options = "".join(f'<option value="{_text(each)}">{_text(title[each])}</option>' for each in there)
    every = '<option value="">all comparisons</option>' if len(there) > 1 else ""
    return f'<label>comparison <select id="comparison">{options}{every}</select></label>'


def _digest(verdicts: Sequence[Verdict]) -> str:
    """For each measure of the first comparison, which tricks do what."""
    lines = []
    first = [each for each in verdicts if each.comparison == verdicts[0].comparison]
    for measure in dict.fromkeys(each.measure for each in first):
        groups = []
        for says in (HELPS, HURTS, EQUIVALENT, UNDECIDED):
            own = [each for each in first if (each.measure, each.says) == (measure, says)]
            if own:
                tricks = ", ".join(_text(each.trick) for each in own)
                groups.append(f'<span class="group"><span class="says {says}">{word(own[0])}:</span> {tricks}</span>')
        lines.append(f"<dt>{_text(noun(measure))}</dt><dd>{' '.join(groups)}</dd>")
    return f'<dl class="digest">{"".join(lines)}</dl>' if lines else ""


def _table(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    rows = []
    for each in verdicts:
        cells = [
            f'<td class="name">{_text(each.trick)}</td>',
            f"<td>{_text(noun(each.measure))}</td>",
            f'<td><span class="says {each.says}">{word(each)}</span></td>',
            _number("-" if each.effect is None else amount(each.effect, each.measure)),
            _number(bounds(each)),
            _number(f"{plain(each.margin, each.measure)} {unit(each.measure)}"),
            _number(f"{each.n:,}"),
            _number("-" if each.power is None else f"{100 * each.power:.0f} %"),
            _number(("" if each.more < MOST else "over ") + f"{each.more:,}" if each.more else ""),
            f'<td class="why">{_text(each.why)}</td>',
        ]
        rows.append(f'<tr data-comparison="{_text(each.comparison)}">{"".join(cells)}</tr>')
    heads = ("effect", "interval", "margin", "n", "power", "more runs")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("trick", "measure", "verdict"))
    head += "".join(f'<th scope="col" class="number">{name}</th>' for name in heads)
    note = '<th scope="col">note</th>' if any(each.why for each in verdicts) else '<th scope="col"></th>'
    return (
        '<p class="quiet">Intervals are adjusted over the tricks of a comparison (Holm): they exclude 0 exactly where '
        "an effect is shown. Power is the chance to see an effect as large as the margin; more runs are those still "
        "missing for the power asked for.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of verdicts"><table id="verdict-table">'
        f"<thead><tr>{head}{note}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _ladder(findings: Findings) -> str:
    """Each step with what it changes, one below the other."""
    own = [each for each in findings.verdicts if each.comparison == "ladder"]
    names = [name for name in findings.order if any(each.trick == name for each in own)]
    if not names:
        return ""
    steps = ["<li>the plain baseline</li>"]
    for at, name in enumerate(names, start=1):
        does = "".join(
            f'<span class="step"><span class="says {each.says}">{each.says}</span> {_text(noun(each.measure))} '
            f"{_text(_effect(each))}, n = {each.n:,}</span>"
            for each in own
            if each.trick == name
        )
        steps.append(
            f'<li style="margin-left: {min(1.2 * at, 12):.1f}em"><span class="name">+ {_text(name)}</span>{does}</li>'
        )
    return f'<h3>The ladder, one trick at a time</h3><ol class="ladder">{"".join(steps)}</ol>'


def _members(findings: Findings, seen: View, records: Sequence[Record]) -> str:
    members = findings.members
    if not members:
        return ""
    heads = ["record", "role", "on the front", "searched", "fresh seeds", "test images"]
    measured = dict.fromkeys(name for each in members for name in (*each.fresh, *each.seen))
    others = [name for name in measured if name != "accuracy" and name in MEASURES]
    heads += [f"{noun(name)}{f', {MEASURES[name].unit}' if MEASURES[name].unit else ''}" for name in others]
    head = "".join(f'<th scope="col"{_right(at)}>{name}</th>' for at, name in enumerate(heads))
    rows = "".join(_member(each, others, _place(each.record, seen, records)) for each in members)
    return (
        "<h3>The front, and how sure each member is of its place</h3>"
        '<p class="quiet">Accuracy in %, with the 95 % interval of its mean and the number of runs. Searched: as the '
        "search saw it, which flatters what it chose. Fresh seeds: the same images, trained anew. Test images: read "
        "for nothing else.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Members of the front"><table id="members">'
        f'<thead><tr>{head}<th scope="col">tricks</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _member(member: Member, others: Iterable[str], place: int | None) -> str:
    name = _text(member.record)
    link = name if place is None else f'<button type="button" class="link" data-record="{place}">{name}</button>'
    cells = [f"<td>{link}</td><td>{_text(member.role)}</td>"]
    if member.chance is None:
        cells.append(_number("-"))
    else:
        share = 100 * member.chance
        bar = f'<meter min="0" max="100" value="{share:.0f}"></meter>'
        cells.append(f'<td class="number">{bar} {share:.0f} %</td>')
    accuracies = (member.seen.get("accuracy"), member.fresh.get("accuracy"), member.test)
    cells += [_mean(each, 2) for each in accuracies]
    for other in others:
        cells.append(_mean(member.fresh.get(other) or member.seen.get(other), MEASURES[other].digits))
    tricks = "(plain baseline)" if member.role == "baseline" else recipe(member.tricks)
    return f'<tr>{"".join(cells)}<td class="name">{_text(tricks)}</td></tr>'


def _mean(mean: Mean | None, digits: int) -> str:
    if mean is None:
        return _number("-")
    bounds = "" if mean.low is None or mean.high is None else f"[{mean.low:,.{digits}f}, {mean.high:,.{digits}f}], "
    return f'<td class="number">{mean.value:,.{digits}f}<small>{bounds}n = {mean.n:,}</small></td>'


def _minimal(minimal: Minimal | None) -> str:
    """The minimal recipe's file: the recipe that it was made from, without the tricks that can go."""
    if minimal is None:
        return ""
    does = (
        "equivalent to the whole or better" if minimal.holds else f"not shown to do as well as the whole: {minimal.why}"
    )
    heading = f"The minimal recipe of {source(minimal.around)}: {' '.join(does.split())}"
    text = Recipe.model_validate(minimal.recipe).to_yaml(heading)
    sign = '<span class="says helps">holds</span>' if minimal.holds else '<span class="says hurts">not shown</span>'
    return (
        f'<div class="card-head"><h3>The minimal recipe {sign}</h3>'
        '<button type="button" data-copy="minimal-yaml">Copy recipe YAML</button></div>'
        f'<p class="name">{_text(recipe(minimal.tricks))}</p><pre id="minimal-yaml" tabindex="0">{_text(text)}</pre>'
    )


def _sentences(said: Sequence[tuple[str, Sequence[str]]]) -> str:
    groups = "".join(
        f"<h4>{_text(heading)}</h4><ul>{''.join(f'<li>{_text(each)}</li>' for each in group)}</ul>"
        for heading, group in said
    )
    return f'<details open id="in-words"><summary>In words</summary>{groups}</details>' if groups else ""


def _text(value: object) -> str:
    return html.escape(str(value))


def _number(value: str) -> str:
    return f'<td class="number">{_text(value)}</td>'


def _right(at: int) -> str:
    return ' class="number"' if at > 1 else ""
