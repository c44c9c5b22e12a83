"""What changed from one step of the ladder to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tricksearch.verdicts.findings import Shift
from tricksearch.verdicts.verdict import EQUIVALENT, UNDECIDED, Verdict

Change = Literal["same", "sign changes", "order changes", "effect fades", "effect appears", "undecided"]


def shifts_of(short: Sequence[Verdict], full: Sequence[Verdict]) -> tuple[Shift, ...]:
    """Each trick's effect on accuracy at both budgets."""
    at_full = {verdict.trick: verdict for verdict in full if verdict.measure == "accuracy"}
    both = {
        verdict.trick: (verdict, at_full[verdict.trick])
        for verdict in short
        if verdict.measure == "accuracy" and verdict.trick in at_full
    }
    return tuple(
        Shift(
            trick,
            *pair,
            says=_changed(pair, [other for name, other in both.items() if name != trick]),
        )
        for trick, pair in both.items()
    )


def _changed(pair: tuple[Verdict, Verdict], others: Sequence[tuple[Verdict, Verdict]]) -> Change:
    short, full = pair
    if UNDECIDED in (short.says, full.says):
        return "undecided"
    if _sign(short) * _sign(full) < 0:
        return "sign changes"
    if EQUIVALENT in (short.says, full.says) and short.says != full.says:
        return "effect fades" if full.says == EQUIVALENT else "effect appears"
    return "order changes" if any(_swapped(pair, other) for other in others) else "same"


def _sign(verdict: Verdict) -> int:
    """Of an effect that is shown."""
    if verdict.low is None or verdict.high is None or verdict.low <= 0 <= verdict.high:
        return 0
    return 1 if verdict.low > 0 else -1


def _swapped(pair: tuple[Verdict, Verdict], other: tuple[Verdict, Verdict]) -> bool:
    """Whether two tricks stand in one order at the short budget and in the other at the full one, beyond doubt."""
    orders = []
    for mine, theirs in zip(pair, other, strict=True):
        if mine.low_alone is None or mine.high_alone is None or theirs.low_alone is None or theirs.high_alone is None:
            return False
        orders.append((mine.low_alone > theirs.high_alone) - (mine.high_alone < theirs.low_alone))
    return orders[0] * orders[1] < 0
