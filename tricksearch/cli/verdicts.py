"""What `verdicts` does. Apart from app.py, so that `--help` imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tricksearch.records.measures import MEASURES
from tricksearch.report.tables import VERDICTS, write_csv
from tricksearch.store.run import StoredRun
from tricksearch.verdicts.findings import Findings, Mean, Member
from tricksearch.verdicts.table import every_verdict
from tricksearch.verdicts.text import FRONT_HEADING, SIMULATED, recipe_line, sections
from tricksearch.verdicts.verdict import HELPS, HURTS, Verdict
from tricksearch.verdicts.words import COMPARISONS, PAIRED, amount, chance_text, interval_of, noun, verdict_word

JUDGING = ("screen", "ablate")  # the phases that verdicts come from
_STYLES = {"helps": "green", "hurts": "red", "equivalent": "cyan", "undecided": "yellow"}


def verdicts_command(folder: Path) -> None:
    """Show what a run says of its tricks, and write its verdicts.csv anew."""
    from tricksearch.search.phases.findings import findings_of

    with StoredRun.open(folder) as run:
        study = run.study
        findings = findings_of(study, run.store)
    console = Console(highlight=False)
    show(console, findings)
    if not every_verdict(findings):
        console.print(_what_to_add(study.phases), markup=False)
        return  # an earlier table stays
    write_csv(findings, folder / VERDICTS)
    console.print(f"Wrote {folder / VERDICTS}", markup=False, soft_wrap=True)


def digest(console: Console, findings: Findings, measures: Sequence[str], folder: Path) -> None:
    """Print a summary at the end of a run: the first comparison, the minimal recipe, how sure the front is."""
    verdicts = [verdict for verdict in every_verdict(findings) if verdict.measure in measures]
    if not verdicts and not any(member.fresh for member in findings.members):
        return
    first = [verdict for verdict in verdicts if verdict.comparison == verdicts[0].comparison]
    brief = replace(findings, verdicts=tuple(first), shifts=(), order=())
    show(console, brief, ("Minimal recipe", FRONT_HEADING, "Longer training", "Confounders", "Notes"))
    others = {verdict.comparison for verdict in verdicts} - {verdict.comparison for verdict in first}
    more = f" ({', '.join(sorted(COMPARISONS[other][0].lower() for other in others))})" if others else ""
    console.print(f"All verdicts{more}: tricksearch verdicts {folder}", markup=False, soft_wrap=True)


def show(console: Console, findings: Findings, headings: Sequence[str] | None = None) -> None:
    """Print the verdicts, the front's members and the sentences; of empty findings, nothing.

    `headings` are those of the sections whose sentences are wanted, None: of all.
    """
    wanted = [
        (heading, sentences) for heading, sentences in sections(findings) if headings is None or heading in headings
    ]
    if not (wanted or findings.verdicts or findings.members):
        return
    if findings.simulated:
        console.print(Text(f" {SIMULATED} ", style="bold reverse yellow"))
    for comparison, group in groupby(every_verdict(findings), key=lambda verdict: verdict.comparison):
        if headings is not None and comparison not in {verdict.comparison for verdict in findings.verdicts}:
            continue
        title, about = COMPARISONS.get(comparison, (comparison, ""))
        design = f" ({findings.design})" if comparison == "screen" and findings.design else ""
        console.print(Text(f"{title}{design}", style="bold"))
        console.print(Text(about, style="dim"))
        every = list(group)
        # Ten tricks have 45 pairs, of which most do not interact.
        rows = [verdict for verdict in every if comparison not in PAIRED or verdict.says in (HELPS, HURTS)]
        if rows:
            console.print(_verdicts(rows))
        if len(rows) < len(every):
            console.print(Text(f"{len(every) - len(rows)} more, not shown to interact, are in {VERDICTS}", style="dim"))
        console.print()
    if findings.members:
        console.print(Text("The front, with the chance of being on it by fresh seeds", style="bold"))
        console.print(Text("accuracy in %; the number of runs in brackets", style="dim"))
        console.print(_members(findings.members))
        console.print()
    for heading, sentences in wanted:
        console.print(Text(heading, style="bold"))
        listed = Table.grid(padding=(0, 1))
        for sentence in sentences:
            listed.add_row("-", Text(sentence))
        console.print(listed)


def _what_to_add(phases: Sequence[str]) -> str:
    if set(phases) & set(JUDGING):
        return f"No trick can be judged yet: the phases are {', '.join(phases)}, and too few of their runs finished."
    return (
        "No trick can be judged from a search alone: add 'phases: [screen, search, ablate, confirm]' to the study and "
        "run it again; what is stored is kept."
    )


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    made = _table()
    made.add_column("trick", overflow="fold", ratio=1, min_width=12)
    for heading in ("measure", "verdict"):
        made.add_column(heading, no_wrap=True)
    for heading in ("effect", "interval", "n"):
        made.add_column(heading, justify="right", no_wrap=True)
    before = ""
    for verdict in verdicts:
        made.add_row(
            Text("" if verdict.trick == before else verdict.trick),
            noun(verdict.measure),
            Text(verdict_word(verdict), style=_STYLES[verdict.says]),
            "-" if verdict.effect is None else amount(verdict.effect, verdict.measure),
            Text(interval_of(verdict)),
            f"{verdict.n:,}",
        )
        before = verdict.trick
    return made


def _members(members: Sequence[Member]) -> Table:
    """Where each stands on accuracy as it was searched and on fresh seeds, on validation and test images."""
    others = list(
        dict.fromkeys(name for member in members for name in (*member.fresh, *member.seen) if name != "accuracy")
    )
    made = _table()
    for heading in ("record", "chance", "searched", "fresh", "test", *map(noun, others)):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("tricks", overflow="fold")
    for member in members:
        measured = [member.fresh.get(name) or member.seen.get(name) for name in others]
        made.add_row(
            member.record,
            chance_text(member),
            *(_accuracy(mean) for mean in (member.seen.get("accuracy"), member.fresh.get("accuracy"), member.test)),
            *(
                "-" if mean is None else f"{MEASURES[name].text(mean.value)} ({mean.n})"
                for name, mean in zip(others, measured, strict=True)
            ),
            Text(_who(member)),
        )
    return made


def _who(member: Member) -> str:
    if member.role == "baseline":
        return "(plain baseline)"
    return f"{'minimal: ' if member.role == 'minimal' else ''}{recipe_line(member.tricks)}"


def _accuracy(mean: Mean | None) -> str:
    return "-" if mean is None else f"{mean.value:.2f} ({mean.n})"
