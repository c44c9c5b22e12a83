"""What a study may change between two runs of it, told in words, and the history of it in the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tricksearch.study.settings import SearchSettings
from tricksearch.study.yaml_file import shown


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
