"""Errors that a person is meant to read: the rule, the value, the place, the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Something that the user gave cannot be used. Printed as one paragraph; the exit code is 2."""

    def __init__(self, rule: str, *, place: str = "", remedy: str = "") -> None:
        parts = [f"{place}: {rule}" if place else rule, remedy[:1].upper() + remedy[1:]]
        super().__init__(" ".join(part if part[-1] in ".?!" else f"{part}." for part in parts if part))
        self.rule, self.place, self.remedy = rule, place, remedy


class TrialError(Exception):
    """A trial cannot go on. It is recorded with this reason, and the search continues.

    A trick raises it for what it meets inside a trial: a net it cannot act on, too few calibration images.
    """

    status = "failed"


class NotApplicable(TrialError):
    """The trick finds nothing in this net or data that it could act on."""


class Diverged(TrialError):
    """The training loss stopped being a finite number."""

    status = "diverged"


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the closest known word, or lists the known ones.

    >>> nearest("resnet81", ["resnet18", "resnet50"])
    "did you mean 'resnet18'?"
    >>> nearest("zzz", ["b", "a"])
    'known: a, b'
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"known: {shown}" if names else "none is known"
