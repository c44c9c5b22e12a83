"""Verdicts as plain sentences. Every number carries its unit, its interval where it has one, and its n."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tricksearch.records.measures import MEASURES
from tricksearch.verdicts.chances import SURE
from tricksearch.verdicts.findings import Findings, Gap, Mean, Member, Minimal, Shift
from tricksearch.verdicts.verdict import CONFIRMED, EQUIVALENT, HELPS, HURTS, MOST, UNDECIDED, Verdict
from tricksearch.verdicts.words import (
    COMPARISONS,
    PAIRED,
    ablated_name,
    amount,
    interval,
    interval_of,
    noun,
    number,
    unit,
)

SIMULATED = "Simulated: nothing was trained."
FRONT_HEADING = "The front, and how sure it is"

_FACTOR_FROM = 20.0  # percent: from here on the factor, such as "x 0.73", is given as well


def recipe_line(tricks: Iterable[str]) -> str:
    """A recipe's tricks in one line."""
    return " + ".join(tricks) or "no trick at all"


def sections(findings: Findings) -> list[tuple[str, list[str]]]:
    """Headings with their sentences, most important first. A trick has one sentence in each comparison."""
    order = findings.order
    sentences = {
        comparison: [
            _trick_sentence(group, _subject(group[0], order)) for group in _by_trick(findings.verdicts, comparison)
        ]
        for comparison in COMPARISONS
    }
    if order and sentences["ladder"]:
        sentences["ladder"].insert(0, f"From the baseline to the recipe that was ablated: {', then '.join(order)}.")
    for comparison in PAIRED:
        pairs = [verdict for verdict in findings.verdicts if verdict.comparison == comparison]
        sentences[comparison] = _interactions(pairs)
    if findings.minimal:
        sentences["minimal"] = _minimal(findings.minimal)
    if findings.shifts:
        sentences["fidelity"] = []  # the sentence of each shift gives its effect at the short budget
    headed = [(COMPARISONS[comparison][0], sentences[comparison]) for comparison in COMPARISONS]
    headed += [
        (FRONT_HEADING, _front(findings.members) + _gap(findings.gap)),
        ("Longer training", _shifts(findings.shifts)),
        ("Confounders", [_as_sentence(text) for text in findings.confounders]),
        ("Notes", [_as_sentence(text) for text in findings.notes]),
    ]
    return [(heading, group) for heading, group in headed if group]


def _by_trick(verdicts: Sequence[Verdict], comparison: str) -> list[list[Verdict]]:
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.comparison == comparison:
            groups.setdefault(verdict.trick, []).append(verdict)
    return list(groups.values())


def _subject(verdict: Verdict, order: Sequence[str]) -> str:
    trick = verdict.trick
    if verdict.comparison == "leave_one_out":
        return f"{trick} in the recipe"
    if verdict.comparison == "add_one_in":
        return f"{trick} on the plain baseline"
    if verdict.comparison == "ladder" and trick in order:
        below = order[: order.index(trick)]
        return f"{trick} on top of {' + '.join(below) or 'the baseline'}"
    if verdict.comparison == "minimal":
        return "the minimal recipe"
    if verdict.comparison == CONFIRMED:
        return f"The recipe of {trick}"
    if verdict.comparison == "fidelity":
        return f"{trick} at the short budget"
    return trick


def _trick_sentence(group: Sequence[Verdict], subject: str) -> str:
    """One sentence for a trick over its measures: the first measure's verdict, then what it does to the others."""
    first, *others = group
    parts = [_first_measure(first, subject), *(_further_measure(verdict, first.n) for verdict in others)]
    whys = dict.fromkeys(f"Why: {_as_sentence(verdict.why)}" for verdict in group if verdict.why)
    return " ".join(["; ".join(parts) + ".", *whys])


def _first_measure(verdict: Verdict, subject: str) -> str:
    on = "" if verdict.measure == "accuracy" else f" on {noun(verdict.measure)}"
    verb = {
        HELPS: f"helps{on}",
        HURTS: f"hurts{on}",
        EQUIVALENT: f"is equivalent{on} to leaving it out" if verdict.comparison != "minimal" else f"is equivalent{on}",
        UNDECIDED: f"is undecided{on}",
    }[verdict.says]
    if verdict.comparison == CONFIRMED:
        where = on or " on accuracy"
        verb = {
            HELPS: f"is better than the baseline{where}",
            HURTS: f"is worse than the baseline{where}",
            EQUIVALENT: f"is as good as the baseline{where}",
            UNDECIDED: f"is undecided against the baseline{where}",
        }[verdict.says]
    margin = f"margin {number(verdict.margin, verdict.measure)} {unit(verdict.measure)}, "
    text = f"{subject} {verb}: {_effect(verdict)}, {margin if verdict.says == EQUIVALENT else ''}n = {verdict.n}"
    return text + _runs_needed(verdict)


def _further_measure(verdict: Verdict, n: int) -> str:
    """What the trick does to a further measure."""
    name, effect = noun(verdict.measure), _effect(verdict)
    own_n = f", n = {verdict.n}" if verdict.n != n else ""
    if verdict.says == UNDECIDED:
        return f"{name} undecided: {effect}{own_n}{_runs_needed(verdict, ',')}"
    if verdict.says == EQUIVALENT:
        verb = f"leaves {name} as it is" if MEASURES[verdict.measure].maximize else f"costs no {name}"
        return f"{verb} ({effect}{own_n})"
    verb = "raises" if (verdict.effect or 0) > 0 else "lowers"
    return f"{verb} {name}: {effect}{own_n}"


def _effect(verdict: Verdict) -> str:
    if verdict.effect is None:
        return "no effect can be given"
    interval_text = interval_of(verdict, "(no interval)")
    factor = ""
    if not MEASURES[verdict.measure].percent and abs(verdict.effect) >= _FACTOR_FROM:
        factor = f", x {1 + verdict.effect / 100:.2f}"
    return f"{amount(verdict.effect, verdict.measure)} {interval_text}{factor}"


def _runs_needed(verdict: Verdict, mark: str = ";") -> str:
    if verdict.says != UNDECIDED or not verdict.more:
        return ""
    margin = f"{number(verdict.margin, verdict.measure)} {unit(verdict.measure)}"
    runs = "1 more run" if verdict.more == 1 else f"{verdict.more:,} more runs"
    if verdict.more >= MOST:
        return f"{mark} no feasible number of runs would show a difference as large as the margin of {margin}"
    if verdict.more_for == "equivalence":
        return f"{mark} about {runs} would show it to be equivalent, within {margin}, if it does nothing"
    return f"{mark} about {runs} would show a difference as large as the margin of {margin}"


def _interactions(verdicts: Sequence[Verdict]) -> list[str]:
    """The pairs that interact, each in a sentence, and the others as a count: ten tricks have 45 pairs."""
    kinds = {
        HELPS: "synergy, together they gain more than the sum of both",
        HURTS: "redundancy, together they gain less than the sum of both",
    }
    sentences = [
        f"{verdict.trick}: {kinds[verdict.says]}: {noun(verdict.measure)} {_effect(verdict)} against the sum, "
        f"n = {verdict.n}."
        for verdict in verdicts
        if verdict.says in kinds
    ]
    for measure in dict.fromkeys(verdict.measure for verdict in verdicts):
        outcomes: list[str] = [verdict.says for verdict in verdicts if verdict.measure == measure]
        counts = [
            f"{count} {words}"
            for says, words in ((EQUIVALENT, "equivalent to the sum"), (UNDECIDED, "undecided"))
            if (count := outcomes.count(says))
        ]
        if counts:
            sentences.append(f"Other pairs, on {noun(measure)}: {', '.join(counts)}.")
    return sentences


def _minimal(minimal: Minimal) -> list[str]:
    if not minimal.dropped:
        whole = (
            f"The minimal recipe is the whole recipe of {ablated_name(minimal.around)}: {recipe_line(minimal.tricks)}"
        )
        return [f"{whole}. None of its tricks can go." + (f" {_as_sentence(minimal.why)}" if minimal.why else "")]
    head = f"The minimal recipe is {recipe_line(minimal.tricks)}, which is {ablated_name(minimal.around)} without "
    sentences = [head + recipe_line(minimal.dropped) + "."]
    against = "; ".join(
        f"{noun(verdict.measure)} {verdict.says}: {_effect(verdict)}, n = {verdict.n}{_runs_needed(verdict, ',')}"
        for verdict in minimal.verdicts
    )
    against = f" {against[0].upper()}{against[1:]}." if against else ""
    if minimal.holds:
        sentences.append(f"It holds: it is equivalent to the whole recipe, or better, on each objective.{against}")
    else:
        sentences.append(f"It is not shown to hold: {_as_sentence(minimal.why or 'it was not run')}{against}")
    return sentences


def _front(members: Sequence[Member]) -> list[str]:
    """Which members are sure of their place; a chance that could not be right is not told."""
    confirmed = [member for member in members if member.role == "front" and member.fresh]
    if not confirmed:
        return []
    doubtful = [member.record for member in confirmed if member.chance is None]
    sure = len(confirmed) - len(doubtful)
    many = f"{len(confirmed)} confirmed recipes" if len(confirmed) > 1 else "the one confirmed recipe"
    text = (
        f"Of {many} of the front, {sure} {'is' if sure == 1 else 'are'} on the front of what was confirmed with a "
        f"chance of {100 * SURE:.0f} % or more, by fresh seeds and within the margins"
    )
    if doubtful:
        text += f"; in doubt: record{'s' * (len(doubtful) > 1)} {', '.join(doubtful)}"
    return [text + "."]


def _gap(gap: Gap | None) -> list[str]:
    """How much of what the search showed was luck, and how much easier its images were."""
    if gap is None:
        return []
    luck, split = gap.optimism, gap.split
    recipes = _recipes(gap.recipes)
    if luck.n < gap.recipes:
        recipes += f" from {luck.n} {'training' if luck.n == 1 else 'trainings'}"
    return [
        f"The search showed {gap.seen:.2f} %, fresh seeds give {gap.fresh:.2f} % (mean of {recipes}): {_luck(luck)}",
        f"On fresh seeds, validation minus test is {amount(split.value, 'accuracy')} {_or_none(split)}, mean of "
        f"{_recipes(split.n)}.",
    ]


def _recipes(count: int) -> str:
    return "1 confirmed recipe" if count == 1 else f"{count} confirmed recipes"


def _luck(luck: Mean) -> str:
    size = f"{luck.value:.2f} points {_or_none(luck)}"
    if luck.low is None or luck.high is None:
        return f"{size}, n = {luck.n}: whether it was luck cannot be told."
    if luck.low > 0:
        return f"{size} of it was luck, n = {luck.n}."
    return f"{amount(luck.value, 'accuracy')} {_or_none(luck)}, n = {luck.n}: not shown to be luck."


def _or_none(mean: Mean) -> str:
    return interval(mean.low, mean.high, "accuracy") or "(no interval)"


def _shifts(shifts: Sequence[Shift]) -> list[str]:
    words = {
        "sign changes": "its sign changes with longer training",
        "effect fades": "its effect fades with longer training",
        "effect appears": "its effect appears with longer training",
        "gains": "does better with longer training",
        "loses": "does worse with longer training",
    }
    sentences = [
        f"{shift.trick}{': ' if words[shift.says].startswith('its') else ' '}{words[shift.says]}: by "
        f"{_effect(shift.change)}, from {_effect(shift.short)} at the short budget (n = {shift.short.n}) to "
        f"{_effect(shift.full)} at the full one (n = {shift.full.n})."
        for shift in shifts
        if shift.says in words
    ]
    same = [shift for shift in shifts if shift.says == "same"]
    if same:
        within = f"within {number(same[0].change.margin, same[0].change.measure)} {unit(same[0].change.measure)}"
        sentences.append(f"Do the same with longer training, {within}: {', '.join(shift.trick for shift in same)}.")
    undecided = [shift.trick for shift in shifts if shift.says == "undecided"]
    if undecided:
        sentences.append(f"Undecided whether longer training changes them: {', '.join(undecided)}.")
    return sentences


def _as_sentence(text: str) -> str:
    """A text in one line that ends as a sentence does."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
