"""What a study may change between two runs of it, told in words, and the history of it in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tricksearch.contract import InputError, Registry, source_hash
from tricksearch.search.phases.settings import PHASES
from tricksearch.search.store import Store
from tricksearch.search.study import SearchSettings, Study, written_out
from tricksearch.trial.document import shown

HISTORY = "studies"  # the fact


def adopt(store: Store, study: Study, registry: Registry, folder: Path) -> list[str]:
    """Prove that the store holds this study, and note there what changed since the last run; returns that in words.

    Tricks may come and go and change their domains, and the search its size and its sampler; records stay. Raises
    InputError, and changes nothing, for another study, and for a trick whose source is not that of its records.
    """
    stored = store.fact("study")
    sources = {name: source_hash(registry[name]) for name, use in study.tricks.items() if use.use != "never"}
    known: dict[str, str] = store.fact("sources") or {}
    plain = json.loads(study.model_dump_json())
    if stored is not None:  # what was run once stays a part of the study
        plain["phases"] = [
            phase for phase in PHASES if phase in {*written_out(stored).get("phases", ()), *study.phases}
        ]
    told: list[str] = []
    if stored is not None:
        difference = study.difference(stored)
        changed = [name for name, mark in known.items() if sources.get(name, mark) != mark]
        if not difference and changed:
            difference = f"the source of '{changed[0]}' is another than that of the trials there"
        if difference:
            where, other = (
                ("store", "give the study another name") if study.store else ("folder", "give --out another folder")
            )
            raise InputError(
                f"this {where} holds another study: {difference}",
                place=store.place if study.store else str(folder),
                remedy=f"{other}, or set it back; nothing in the {where} was changed",
            )
        told = list(changes(written_out(stored), plain))
    # What was taken out stays known: it may come back, and then it has to be the same.
    store.put_fact("sources", known | sources)
    if stored is None or told:
        entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "difference": told}
        store.put_fact(HISTORY, [*(store.fact(HISTORY) or []), entry])
    store.put_fact("study", plain)
    return told


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs of that which may differ, between the JSON of two studies that are comparable.

    >>> a = {"tricks": {"x": {"use": "search", "p": [0, 1]}, "y": {"use": "always"}}, "search": {"trials": 40}}
    >>> b = {"tricks": {"x": {"use": "search", "p": [0, 2]}, "z": {"use": "search"}}, "search": {"trials": 60}}
    >>> list(changes(a, b))
    ['x.p was [0, 1] and is [0, 2]', 'y was taken out', 'z was added', 'search.trials was 40 and is 60']
    """
    old, new = (_taking_part(study) for study in (before, now))
    for name in sorted({*old, *new}):
        if name not in old or name not in new:
            yield f"{name} was {'added' if name in new else 'taken out'}"
            continue
        for field in dict.fromkeys([*old[name], *new[name]]):
            was, becomes = old[name].get(field), new[name].get(field)
            if was != becomes:
                yield f"{name}.{field} was {shown(was)} and is {shown(becomes)}"
    for part in ("screen", "ablate", "confirm", "verdicts"):
        old_part, new_part = before.get(part, {}), now.get(part, {})
        for key in dict.fromkeys([*old_part, *new_part]):
            if old_part.get(key) != new_part.get(key):
                yield f"{part}.{key} was {shown(old_part.get(key))} and is {shown(new_part.get(key))}"
    for key in SearchSettings.model_fields:
        was, becomes = (study.get("search", {}).get(key) for study in (before, now))
        if was != becomes and key != "workers":  # those are the machine's, not the study's
            yield f"search.{key} was {shown(was)} and is {shown(becomes)}"


def _taking_part(study: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: dict(use) for name, use in study.get("tricks", {}).items() if use.get("use") != "never"}
