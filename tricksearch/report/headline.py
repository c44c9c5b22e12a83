"""The sentences at the head of the page: what was measured, what beats the baseline, how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tricksearch.records.constraints import not_in_force, resolved
from tricksearch.records.measures import MEASURES
from tricksearch.records.precision import forms, slower_than_float
from tricksearch.records.record import FINISHED, Record, machine_line
from tricksearch.records.timing import machine_moved, ties_line
from tricksearch.report.view import View, clearly_better, interval_of

MOSTLY = 0.5  # share of the rounds of a timing


def headline(view: View) -> str:
    """How many recipes are shown to beat the baseline on all objectives, in one sentence.

    Only what their intervals carry is claimed; `caveat` tells of the others.
    """
    rivals = len([i for i in view.plotted if i != view.baseline])
    if not view.plotted:
        return "No trial finished, so there is nothing to compare yet."
    if view.baseline is None:
        return "The baseline has not been run, so no recipe can be compared with it."
    if view.baseline not in view.plotted:
        return "The baseline did not finish, so no recipe can be compared with it."
    if not rivals:
        return "Only the baseline finished, so there is nothing to compare it with yet."
    return f"{_claim(len(view.sure), bool(view.better))} {_better(view)}."


def _claim(sure: int, by_values: bool) -> str:
    if not sure:
        return "No recipe is shown to be" if by_values else "No recipe is"
    return f"{sure:,} recipe{' is' if sure == 1 else 's are'}"


def _better(view: View) -> str:
    if view.objectives == ("accuracy", "latency_ms"):
        return "both more accurate and faster than the baseline"
    *others, last = [MEASURES[name].noun for name in view.objectives]
    which = "both" if len(others) == 1 else f"all {len(view.objectives)} objectives,"
    return f"better than the baseline on {which} {', '.join(others)} and {last}"


def caveat(view: View) -> str:
    """What carries the headline, and why of others the values alone are better; empty if none beats the baseline."""
    if view.baseline is None or not view.better:
        return ""
    sentences = []
    if view.sure:
        whose = "Its" if len(view.sure) == 1 else "Their"
        shown_by = (
            "fresh runs show it" if view.tested else "95 % intervals lie wholly on the better side of the baseline's"
        )
        sentences.append(f"{whose} {shown_by}.")
    plain, rest = view.records[view.baseline], [view.records[at] for at in view.better if at not in view.sure]
    if rest:
        reasons = [_unclear(name, rest, plain) for name in view.objectives]
        more, them = (" more" if view.sure else ""), "is" if len(rest) == 1 else "are"
        known = "; ".join(reason for reason in reasons if reason)
        if view.tested:
            known = "fresh runs do not show it, or there were none"
        sentences.append(f"{len(rest):,}{more} {them} so by measured values alone: {known}.")
    return " ".join(sentences)


def _unclear(name: str, records: Sequence[Record], baseline: Record) -> str:
    """Of how many of these an objective's interval does not tell it from the baseline; "" where it tells all."""
    unknown = [record for record in records if interval_of(record, name) is None or interval_of(baseline, name) is None]
    if unknown:
        return f"{MEASURES[name].noun} has no interval" + (f" in {len(unknown):,}" if len(records) > 1 else "")
    over = [record for record in records if not clearly_better(record, baseline, name)]
    if not over:
        return ""
    where = f" in {len(over):,}" if len(records) > 1 else ""
    return f"the 95 % interval of {MEASURES[name].noun} overlaps the baseline's{where}"


def details(view: View, study: Mapping[str, Any]) -> list[str]:
    """The sentences below the headline: counts, n, hardware, and what is not established."""
    lines = [_counts(view), _measured(view, study)]
    if study.get("constraints"):
        lines.append(f"Constraints: {', '.join(study['constraints'])}. {_infeasible(len(view.infeasible))}")
        open_limits = not_in_force(study["constraints"], view.records)
        if open_limits:
            lines[-1] = open_limits
            bounds = resolved(study["constraints"], view.records)
            if bounds:
                others = ", ".join(bound.text for bound in bounds)
                lines[-1] += f" The other constraints: {others}. {_infeasible(len(view.infeasible))}"
    lines += [line for line in (machine_moved(view.records), ties_line(view.records)) if line]
    lines += [*forms(view.records), *filter(None, [slower_than_float(view.records)])]
    disturbed = [record for record in view.records if (record.latency_disturbed or 0.0) > MOSTLY]
    if disturbed:
        lines.append(
            f"While the latency of {_n(len(disturbed), 'record')} was taken, other programs had the processor most of"
            f" the time: read {'those' if len(disturbed) > 1 else 'it'} with care"
            f" ({', '.join(record.id for record in disturbed[:5])}{', ...' if len(disturbed) > 5 else ''})."
        )
    lines.append(
        f"{_runs(view)}, and the validation images are those that the search chose by: the best values shown are"
        " somewhat flattered, and a difference in accuracy that lies within the 95 % interval is not established."
    )
    return lines


def _infeasible(count: int) -> str:
    if not count:
        return "Every finished record keeps them."
    return f"{_n(count, 'finished record')} {'breaks' if count == 1 else 'break'} them and cannot be on the front."


def _runs(view: View) -> str:
    repeated = [record.runs for record in view.records if record.runs > 1]
    if not repeated:
        return "Each recipe was trained once"
    seeds = f"{min(repeated)} to {max(repeated)}" if min(repeated) < max(repeated) else f"{repeated[0]}"
    verb = "are" if len(repeated) > 1 else "is"
    return f"{_n(len(repeated), 'recipe')} ran with {seeds} seeds and {verb} shown by the mean, the others ran once"


def hardware(study: Mapping[str, Any]) -> str:
    """The machine in one line."""
    return machine_line(study.get("hardware") or {})


def _counts(view: View) -> str:
    by_status = Counter(record.status for record in view.records)
    finished = by_status.pop(FINISHED, 0)
    rest = [f"{count:,} {status.replace('_', ' ')}" for status, count in sorted(by_status.items())]
    trials = len({record.trial for record in view.records})
    total = _n(trials, "trial")
    if trials < len(view.records):
        total += f" and {_n(len(view.records) - trials, 'variant')} of them"
    if not view.records:
        return "No trial is recorded."
    if not rest:
        return f"{total}, all finished."
    return f"{total}: {finished:,} finished, {', '.join(rest)}; the table gives each one's reason."


def _measured(view: View, study: Mapping[str, Any]) -> str:
    images = sorted({record.validation_images for record in view.records if record.validation_images})
    runs = sorted({record.latency_runs for record in view.records if record.latency_runs})
    latency = study.get("latency") or {}
    parts = []
    if images:
        parts.append(f"Accuracy is that of the exported file on {_span(images)} validation images")
    if runs:
        batch = f"batch {latency['batch']}" if "batch" in latency else ""
        threads = _n(latency["threads"], "thread") if "threads" in latency else ""
        settings = ", ".join(part for part in (batch, threads) if part)
        parts.append(f"latency that of {_span(runs)} calls{f' ({settings})' if settings else ''}")
    text = ", ".join(parts)
    machine = hardware(study)
    where = f"Measured on: {machine}." if machine else "The hardware was not recorded."
    return f"{text[0].upper()}{text[1:]}. {where}" if text else where


def _n(count: Any, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}" if isinstance(count, int) else f"{count} {word}s"


def _span(numbers: list[int]) -> str:
    low, high = numbers[0], numbers[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
