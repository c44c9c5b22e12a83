"""What longer training changes: the effect at the full budget minus that at the short one, as a test of its own.

That an effect is shown at one budget and not at the other says nothing of the difference: with equal effects at both,
87 % of studies would claim a change. So each difference is estimated with its own error, and all of them are one
family, with the equivalence that "same" means.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

from tricksearch.records.record import Record
from tricksearch.search.phases.measures import verdicts_on
from tricksearch.search.phases.screen import Screen
from tricksearch.study.study import Study
from tricksearch.verdicts.findings import Change, Shift
from tricksearch.verdicts.sequential import Looks
from tricksearch.verdicts.verdict import EQUIVALENT, HELPS, HURTS, UNDECIDED, Estimate, Unknown, Verdict

MEASURE = "accuracy"


def shifts_of(study: Study, screen: Screen, records: Sequence[Record], full: Sequence[Verdict]) -> tuple[Shift, ...]:
    """Each trick's effect on accuracy at both budgets, and how they differ; none before both have been run."""
    short = {verdict.trick: verdict for verdict in screen.short_verdicts(records) if verdict.measure == MEASURE}
    whole = {verdict.trick: verdict for verdict in full if verdict.measure == MEASURE}
    if not short or not whole:
        return ()
    at_short = screen.estimates(screen.short_runs(records), MEASURE)
    at_full = screen.estimates(screen.runs(records), MEASURE)
    differences = [longer_minus_shorter(*pair) for pair in zip(at_short, at_full, strict=True)]
    changes = verdicts_on(study, MEASURE, differences, "budget", difference_looks(screen.looks(records)))
    return tuple(
        Shift(
            change.trick,
            short[change.trick],
            whole[change.trick],
            change,
            change_in_words(short[change.trick], whole[change.trick], change),
        )
        for change in changes
    )


def longer_minus_shorter(short: Estimate | Unknown, full: Estimate | Unknown) -> Estimate | Unknown:
    """The difference of the effects of a trick in two screens that share no run; Satterthwaite's (1946) freedom."""
    if isinstance(full, Unknown):
        return Unknown(full.name, full.why)
    if isinstance(short, Unknown):
        return Unknown(short.name, short.why)
    shares = short.error**2, full.error**2
    return Estimate(
        full.name,
        full.effect - short.effect,
        hypot(short.error, full.error),
        sum(shares) ** 2 / (shares[0] ** 2 / short.freedom + shares[1] ** 2 / full.freedom),
        short.on + full.on,
        short.off + full.off,
        short.others + full.others,
    )


def change_in_words(short: Verdict, full: Verdict, change: Verdict) -> Change:
    """What the difference shows, and no more; the more telling words need what each budget shows by itself as well."""
    if change.says == UNDECIDED:
        return "undecided"
    if change.says == EQUIVALENT:
        return "same"
    if _sign(short) * _sign(full) < 0:
        return "sign changes"
    shown = [verdict.says in (HELPS, HURTS) for verdict in (short, full)]
    if shown[0] and full.says == EQUIVALENT:
        return "effect fades"
    if shown[1] and short.says == EQUIVALENT:
        return "effect appears"
    return "gains" if change.says == HELPS else "loses"


def difference_looks(full: Looks | None) -> Looks | None:
    """Those at the differences: their information grows more slowly at the end than the full screen's.

    With the short screen as large as the whole full one, a share s of the latter's runs makes the variance of a
    difference (1 + 1 / s) / 2 times what it is at the end.
    """
    return None if full is None else Looks(tuple(2 / (1 + 1 / share) for share in full.fractions))


def _sign(verdict: Verdict) -> int:
    """Of an effect that is shown."""
    if verdict.low is None or verdict.high is None or verdict.low <= 0 <= verdict.high:
        return 0
    return 1 if verdict.low > 0 else -1
