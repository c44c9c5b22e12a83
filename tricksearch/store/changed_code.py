"""A trick whose code changed between two runs of a study: what becomes of the records that have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tricksearch.contract import Registry, has_source, inner_tricks
from tricksearch.records.record import Record
from tricksearch.store.facts import ABLATION, CODE_CHANGES, CONFIRMATION, SCREENS, Fact
from tricksearch.store.store import Store

ChangedTricks = Literal["keep", "set-aside"]
# Completes "set the file back, or", for whoever is asked to choose.
CHOICE = (
    "go on here with --changed-tricks: 'set-aside' leaves these records in the store, where they no longer count (not "
    "on the front, in no verdict, not told to the sampler), and runs again what the study wants of them; 'keep' counts "
    "them as records of the code as it is now, which the report and the verdicts then say, for a change that cannot "
    "alter a result; they cannot be exported"
)


@dataclass(frozen=True)
class CodeChange:
    """A change of one trick's code, and what was done with the records that have the trick."""

    trick: str
    earlier: str  # what `source_hash` gave of the code that they were measured with
    done: ChangedTricks
    records: list[str]  # their ids


def tricks_of(record: Record) -> set[str]:
    """The tricks whose code a record was measured with: its recipe's, and those of the recipes inside it."""
    names = set(record.tricks)
    return names.union(*(inner_tricks(values) for values in record.tricks.values()))


def having(records: Iterable[Record], tricks: Iterable[str]) -> list[Record]:
    """The records that have one of these tricks."""
    names = set(tricks)
    return [record for record in records if names & tricks_of(record)]


def go_on(store: Store, changed: Mapping[str, str], how: ChangedTricks) -> list[str]:
    """Keep or set aside the records of tricks whose code changed, and note it; returns that in words.

    `changed` has the marks of the earlier code by the tricks' names. With a trial's own record go all that share its
    training.
    """
    records = store.records()
    own = having(records, changed)
    trials = {record.trial for record in own if record.variant == 0}
    notes, sentences = store.fact(CODE_CHANGES) or [], []
    for name, earlier in changed.items():
        ids = [record.id for record in having(records, [name])]
        note = asdict(CodeChange(name, earlier, how, ids))
        notes += [] if note in notes else [note]  # it is where `keep` was broken off before its end
        did = "kept, as if they were of the code as it is now" if how == "keep" else "set aside"
        sentences.append(f"the code of {name} changed, and {_count(len(ids))} with it {_were(len(ids))} {did}")
    if how == "keep":
        store.put_fact(CODE_CHANGES, notes)
    else:
        # What was chosen by records that no longer count is chosen anew, and blocks of a screen are laid out anew.
        facts: dict[Fact[Any], Any] = {CODE_CHANGES: notes, ABLATION: None, SCREENS: {}}
        if confirmed := store.fact(CONFIRMATION):
            facts[CONFIRMATION] = confirmed | {"searched": -1}
        store.set_aside([record for record in records if record.trial in trials or record in own], facts)
    return sentences


def code_changes(store: Store) -> list[CodeChange]:
    """Every change of a trick's code that records went through, the earliest first."""
    return [CodeChange(**change) for change in store.fact(CODE_CHANGES) or []]


def notes_of(changes: Sequence[CodeChange], records: Iterable[Record]) -> list[str]:
    """What a reader of verdicts must know of these changes: sentences. `records` are those that count."""
    counted = {record.id for record in records}
    notes = []
    for change in changes:
        kept = len(counted.intersection(change.records))
        if change.done == "set-aside":
            notes.append(
                f"The code of {change.trick} changed during the study: {_count(len(change.records))} with it "
                f"{_were(len(change.records))} set aside and counted nowhere."
            )
        elif kept:
            notes.append(
                f"The code of {change.trick} changed during the study, and {_count(kept)} of the earlier code "
                f"{_were(kept)} kept: what is said of {change.trick} takes both codes for one."
            )
    return notes


def has_measured_code(
    record: Record, name: str, registry: Registry, sources: Mapping[str, str], changes: Sequence[CodeChange]
) -> bool:
    """Whether a trick's code, as it is here, is the one that a record was measured with, as far as is known."""
    kept = (change.earlier for change in changes if change.trick == name and record.id in change.records)
    mark = next(kept, sources.get(name))
    return mark is None or has_source(registry[name], mark)


def _count(records: int) -> str:
    return "1 record" if records == 1 else f"{records} records"


def _were(records: int) -> str:
    return "was" if records == 1 else "were"
