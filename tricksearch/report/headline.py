"""The sentences at the head of the page: what was measured, what beats the baseline, how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tricksearch.records.measures import DRIFT, MEASURES, SPREAD
from tricksearch.records.record import STATUSES, machine_line
from tricksearch.report.view import View, accuracy_interval


def answer(seen: View) -> str:
    """The one sentence that the reader came for."""
    rivals = len([i for i in seen.plotted if i != seen.baseline])
    if not seen.plotted:
        return "No trial finished, so there is nothing to compare yet."
    if seen.baseline is None:
        return "The baseline has not been run, so no recipe can be compared with it."
    if seen.baseline not in seen.plotted:
        return "The baseline did not finish, so no recipe can be compared with it."
    if not rivals:
        return "Only the baseline finished, so there is nothing to compare it with yet."
    count = len(seen.better)
    number = f"{count:,}" if count else "No"
    verb = "recipe is" if count == 1 else "recipes are"
    if seen.objectives == ("accuracy", "latency_ms"):
        return f"{number} {verb} both more accurate and faster than the baseline."
    titles = [MEASURES[name].title for name in seen.objectives]
    if len(titles) == 2:
        return f"{number} {verb} better than the baseline on both {titles[0]} and {titles[1]}."
    # Some titles hold a comma.
    return f"{number} {verb} better than the baseline on all {len(titles)} objectives: {'; '.join(titles)}."


def certainty(seen: View) -> str:
    """Whether those that beat the baseline stand clear of its interval; empty if none beats it."""
    at = seen.baseline
    start = accuracy_interval(seen.records[at]) if at is not None else None
    if start is None or not seen.better or "accuracy" not in seen.objectives:
        return ""
    clear = 0
    for i in seen.better:
        own = accuracy_interval(seen.records[i])
        clear += own is not None and own[0] > start[1]
    if len(seen.better) == 1:
        does = "lies wholly above" if clear else "overlaps"
        return f"Its 95 % interval of accuracy {does} the baseline's."
    number = f"{clear:,}" if clear else "None"
    verb = "has" if clear <= 1 else "have"
    return (
        f"{number} of these {len(seen.better):,} {verb} a 95 % interval of accuracy that"
        " lies wholly above the baseline's."
    )


def details(seen: View, study: Mapping[str, Any]) -> list[str]:
    """What stands behind the answer: counts, n, hardware, and what is not established."""
    lines = [_counts(seen), _measured(seen, study)]
    if study.get("constraints"):
        lines.append(
            f"Constraints: {', '.join(study['constraints'])}. {_n(len(seen.infeasible), 'finished record')} "
            f"{'breaks' if len(seen.infeasible) == 1 else 'break'} them and cannot be on the front."
        )
    drifted = [
        each
        for each in seen.records
        if abs((each.latency_drift or 1.0) - 1) > DRIFT or (each.latency_spread or 0.0) > SPREAD
    ]
    if drifted:
        lines.append(
            f"In {_n(len(drifted), 'record')} the machine's speed changed by more than {100 * DRIFT:.0f} % while"
            " latency was taken (a reference model is timed before and after), or the blocks of calls differed by more"
            f" than {100 * SPREAD:.0f} %: read those with care."
        )
    lines.append(
        f"{_runs(seen)}, and the validation images are those that the search chose by: the best values shown are"
        " somewhat flattered, and a difference in accuracy that lies within the 95 % interval is not established."
    )
    return lines


def _runs(seen: View) -> str:
    again = [each.runs for each in seen.records if each.runs > 1]
    if not again:
        return "Each recipe was trained once"
    most = f"{min(again)} to {max(again)}" if min(again) < max(again) else f"{again[0]}"
    stand = "stand" if len(again) > 1 else "stands"
    return f"{_n(len(again), 'recipe')} ran with {most} seeds and {stand} here with the mean, the others ran once"


def hardware(study: Mapping[str, Any]) -> str:
    """The machine in one line."""
    return machine_line(study.get("hardware") or {})


def _counts(seen: View) -> str:
    by_status = Counter(each.status for each in seen.records)
    done = by_status.pop(STATUSES[0], 0)
    rest = [f"{count:,} {status.replace('_', ' ')}" for status, count in sorted(by_status.items())]
    trials = len({each.trial for each in seen.records})
    total = _n(trials, "trial")
    if trials < len(seen.records):
        total += f" and {_n(len(seen.records) - trials, 'variant')} of them"
    if not seen.records:
        return "No trial is recorded."
    if not rest:
        return f"{total}, all finished."
    return f"{total}: {done:,} finished, {', '.join(rest)}; the table gives each one's reason."


def _measured(seen: View, study: Mapping[str, Any]) -> str:
    counts = sorted({each.validation_images for each in seen.records if each.validation_images})
    runs = sorted({each.latency_runs for each in seen.records if each.latency_runs})
    latency = study.get("latency") or {}
    parts = []
    if counts:
        parts.append(f"Accuracy is that of the exported file on {_span(counts)} validation images")
    if runs:
        setting = ", ".join(_n(latency[key], word) for key, word in (("threads", "thread"),) if key in latency)
        batch = f"batch {latency['batch']}" if "batch" in latency else ""
        how = ", ".join(part for part in (batch, setting) if part)
        parts.append(f"latency the median of {_span(runs)} runs{f' ({how})' if how else ''}")
    text = ", ".join(parts)
    machine = hardware(study)
    where = f"Measured on: {machine}." if machine else "The hardware was not recorded."
    return f"{text[0].upper()}{text[1:]}. {where}" if text else where


def _n(count: Any, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}" if isinstance(count, int) else f"{count} {word}s"


def _span(numbers: list[int]) -> str:
    low, high = numbers[0], numbers[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
