"""Verdicts as plain sentences. Every number carries its unit, its interval where it has one, and its n."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tricksearch.records.measures import MEASURES
from tricksearch.verdicts.findings import Findings, Gap, Mean, Member, Minimal, Shift
from tricksearch.verdicts.verdict import EQUIVALENT, HELPS, HURTS, MOST, UNDECIDED, Verdict
from tricksearch.verdicts.words import COMPARISONS, PAIRED, amount, bounds, interval, noun, plain, source, unit

SIMULATED = "Simulated: nothing was trained."
DOUBT = "The front and its doubt"

_FACTOR_FROM = 20.0  # percent: from here on "x 0.73" is said as well
_SURE = 0.9


def recipe(tricks: Iterable[str]) -> str:
    """Tricks in one line."""
    return " + ".join(tricks) or "no trick at all"


def sentence(verdict: Verdict) -> str:
    """One verdict by itself."""
    return _told([verdict], _subject(verdict, ()))


def sentences(findings: Findings) -> list[str]:
    """Everything that was found, most important first; see `sections` for the same under headings."""
    said = [SIMULATED] if findings.simulated else []
    return said + [each for _, group in sections(findings) for each in group]


def sections(findings: Findings) -> list[tuple[str, list[str]]]:
    """Headings with their sentences. A trick has one sentence in each comparison, over all its measures."""
    order = findings.order
    told = {
        comparison: [_told(group, _subject(group[0], order)) for group in _by_trick(findings.verdicts, comparison)]
        for comparison in COMPARISONS
    }
    if order and told["ladder"]:
        told["ladder"].insert(0, f"From the baseline to the recipe that was ablated: {', then '.join(order)}.")
    for paired in PAIRED:
        told[paired] = _interactions([each for each in findings.verdicts if each.comparison == paired])
    told["minimal"] = _minimal(findings.minimal) if findings.minimal else told["minimal"]
    if findings.shifts:
        told["fidelity"] = []  # each shift tells of its short budget
    named = [(COMPARISONS[comparison][0], told[comparison]) for comparison in COMPARISONS]
    named += [
        (DOUBT, _front(findings.members) + _gap(findings.gap)),
        ("Longer training", _shifts(findings.shifts)),
        ("Confounders", [_ended(each) for each in findings.confounders]),
        ("Notes", [_ended(each) for each in findings.notes]),
    ]
    return [(heading, group) for heading, group in named if group]


def _by_trick(verdicts: Sequence[Verdict], comparison: str) -> list[list[Verdict]]:
    groups: dict[str, list[Verdict]] = {}
    for each in verdicts:
        if each.comparison == comparison:
            groups.setdefault(each.trick, []).append(each)
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
    if verdict.comparison == "fidelity":
        return f"{trick} at the short budget"
    return trick


def _told(group: Sequence[Verdict], subject: str) -> str:
    """One sentence for a trick over its measures: the first measure's verdict, then what it does to the others."""
    first, *others = group
    parts = [_headline(first, subject), *(_aside(each, first.n) for each in others)]
    whys = dict.fromkeys(f"Why: {_ended(each.why)}" for each in group if each.why)
    return " ".join(["; ".join(parts) + ".", *whys])


def _headline(verdict: Verdict, subject: str) -> str:
    on = "" if verdict.measure == "accuracy" else f" on {noun(verdict.measure)}"
    says = {
        HELPS: f"helps{on}",
        HURTS: f"hurts{on}",
        EQUIVALENT: f"is equivalent{on} to leaving it out" if verdict.comparison != "minimal" else f"is equivalent{on}",
        UNDECIDED: f"is undecided{on}",
    }[verdict.says]
    margin = f"margin {plain(verdict.margin, verdict.measure)} {unit(verdict.measure)}, "
    text = f"{subject} {says}: {_effect(verdict)}, {margin if verdict.says == EQUIVALENT else ''}n = {verdict.n}"
    return text + _runs_needed(verdict)


def _aside(verdict: Verdict, n: int) -> str:
    """What the trick does to a further measure."""
    name, effect = noun(verdict.measure), _effect(verdict)
    own = f", n = {verdict.n}" if verdict.n != n else ""
    if verdict.says == UNDECIDED:
        return f"{name} undecided: {effect}{own}{_runs_needed(verdict, ',')}"
    if verdict.says == EQUIVALENT:
        same = f"leaves {name} as it is" if MEASURES[verdict.measure].maximize else f"costs no {name}"
        return f"{same} ({effect}{own})"
    verb = "raises" if (verdict.effect or 0) > 0 else "lowers"
    return f"{verb} {name}: {effect}{own}"


def _effect(verdict: Verdict) -> str:
    if verdict.effect is None:
        return "no effect can be given"
    between = bounds(verdict, "(no interval)")
    factor = ""
    if not MEASURES[verdict.measure].percent and abs(verdict.effect) >= _FACTOR_FROM:
        factor = f", x {1 + verdict.effect / 100:.2f}"
    return f"{amount(verdict.effect, verdict.measure)} {between}{factor}"


def _runs_needed(verdict: Verdict, mark: str = ";") -> str:
    if verdict.says != UNDECIDED or not verdict.more:
        return ""
    margin = f"{plain(verdict.margin, verdict.measure)} {unit(verdict.measure)}"
    runs = "1 more run" if verdict.more == 1 else f"{verdict.more:,} more runs"
    if verdict.more >= MOST:
        return f"{mark} no number of runs that anyone makes would show a difference as large as the margin of {margin}"
    if verdict.more_for == "equivalence":
        return f"{mark} about {runs} would show it to be equivalent, within {margin}, if it does nothing"
    return f"{mark} about {runs} would show a difference as large as the margin of {margin}"


def _interactions(verdicts: Sequence[Verdict]) -> list[str]:
    """The pairs that interact, each in a sentence, and the others as a count: ten tricks have 45 pairs."""
    kinds = {
        HELPS: "synergy, together they gain more than the sum of both",
        HURTS: "redundancy, together they gain less than the sum of both",
    }
    said = [
        f"{each.trick}: {kinds[each.says]}: {noun(each.measure)} {_effect(each)} against the sum, n = {each.n}."
        for each in verdicts
        if each.says in kinds
    ]
    for measure in dict.fromkeys(each.measure for each in verdicts):
        own = [each for each in verdicts if each.measure == measure]
        add_up, open_ = (sum(each.says == says for each in own) for says in (EQUIVALENT, UNDECIDED))
        counts = [f"{add_up} equivalent to the sum"] * bool(add_up) + [f"{open_} undecided"] * bool(open_)
        if counts:
            said.append(f"Other pairs, on {noun(measure)}: {', '.join(counts)}.")
    return said


def _minimal(minimal: Minimal) -> list[str]:
    if not minimal.dropped:
        whole = f"The minimal recipe is the whole recipe of {source(minimal.around)}: {recipe(minimal.tricks)}"
        return [f"{whole}. None of its tricks can go." + (f" {_ended(minimal.why)}" if minimal.why else "")]
    head = f"The minimal recipe is {recipe(minimal.tricks)}, which is {source(minimal.around)} without "
    said = [head + recipe(minimal.dropped) + "."]
    against = "; ".join(
        f"{noun(each.measure)} {each.says}: {_effect(each)}, n = {each.n}{_runs_needed(each, ',')}"
        for each in minimal.verdicts
    )
    against = f" {against[0].upper()}{against[1:]}." if against else ""
    if minimal.holds:
        said.append(f"It holds: it is equivalent to the whole recipe, or better, on each objective.{against}")
    else:
        said.append(f"It is not shown to hold: {_ended(minimal.why or 'it was not run')}{against}")
    return said


def _front(members: Sequence[Member]) -> list[str]:
    chances = [(each.chance, each) for each in members if each.role == "front" and each.chance is not None]
    if not chances:
        return []
    sure = sum(chance >= _SURE for chance, _ in chances)
    least, record = min(chances, key=lambda pair: pair[0])
    many = f"{len(chances)} recipes" if len(chances) > 1 else "the one recipe"
    text = f"Of {many} of the front, {sure} {'is' if sure == 1 else 'are'} on it with a chance of {_SURE:.0%} or more"
    if sure < len(chances):
        text += f"; the least sure is record {record.record} ({least:.0%})"
    return [text.replace("%", " %") + "."]


def _gap(gap: Gap | None) -> list[str]:
    """How much of what the search showed was luck, and how much easier its images were."""
    if gap is None:
        return []
    luck, split = gap.optimism, gap.split
    of = _recipes(gap.recipes)
    if luck.n < gap.recipes:
        of += f" from {luck.n} {'training' if luck.n == 1 else 'trainings'}"
    return [
        f"The search showed {gap.seen:.2f} %, fresh seeds give {gap.fresh:.2f} % (mean of {of}): {_luck(luck)}",
        f"On fresh seeds, validation minus test is {amount(split.value, 'accuracy')} {_or_none(split)}, mean of "
        f"{_recipes(split.n)}.",
    ]


def _recipes(count: int) -> str:
    return "1 confirmed recipe" if count == 1 else f"{count} confirmed recipes"


def _luck(luck: Mean) -> str:
    size = f"{luck.value:.2f} points {_or_none(luck)}"
    if luck.low is None or luck.high is None:
        return f"{size}, n = {luck.n}: one cannot tell whether it was luck."
    if luck.low > 0:
        return f"{size} of it was luck, n = {luck.n}."
    return f"{amount(luck.value, 'accuracy')} {_or_none(luck)}, n = {luck.n}: not shown to be luck."


def _or_none(mean: Mean) -> str:
    return interval(mean.low, mean.high, "accuracy") or "(no interval)"


def _shifts(shifts: Sequence[Shift]) -> list[str]:
    said = [
        f"{each.trick}: its {each.says.partition(' ')[0]} {each.says.partition(' ')[2]} with longer training: "
        f"{_effect(each.short)} at the short budget (n = {each.short.n}), "
        f"{_effect(each.full)} at the full one (n = {each.full.n})."
        for each in shifts
        if each.says in ("sign changes", "order changes", "effect fades", "effect appears")
    ]
    for says, words in (
        ("same", "Keep their sign and order with longer training"),
        ("undecided", "Undecided whether longer training changes them"),
    ):
        names = [each.trick for each in shifts if each.says == says]
        said += [f"{words}: {', '.join(names)}."] * bool(names)
    return said


def _ended(text: str) -> str:
    """A text that ends as a sentence does."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
