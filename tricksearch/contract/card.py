"""The card: what a trick's module docstring tells of it."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass

from tricksearch.contract.trick import Trick, trick_name

FIELDS = {"Paper": "paper", "Use when": "use_when", "Avoid when": "avoid_when", "Cost": "cost"}


@dataclass(frozen=True)
class Card:
    """One sentence of what the trick does, and what to know before using it."""

    name: str
    does: str
    paper: str
    use_when: str
    avoid_when: str
    cost: str


def card(trick: type[Trick]) -> Card:
    """Read the card of a trick. Raises TypeError naming the line that is missing."""
    text = inspect.cleandoc(sys.modules[trick.__module__].__doc__ or "")
    does = text.split("\n\n")[0].replace("\n", " ").strip()
    if not does:
        raise TypeError("the module's docstring, the trick's card, is missing")
    sections: dict[str, str] = {}
    for label, key in FIELDS.items():
        match = re.search(rf"^{label}: *(.+(?:\n(?![A-Z][a-z ]+:)\S?.*\S.*)*)", text, flags=re.MULTILINE)
        if match is None:
            raise TypeError(f"the card in the module's docstring has no line '{label}: ...'")
        sections[key] = " ".join(match.group(1).split())
    return Card(trick_name(trick), does, **sections)
