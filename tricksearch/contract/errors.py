"""Errors that a person is meant to read: the rule, the value, the place, the remedy."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Sequence


class InputError(Exception):
    """Something that the user gave cannot be used. Printed as one paragraph; the exit code is 2.

    `others` are the problems that were found together with this one.
    """

    def __init__(self, rule: str, *, place: str = "", remedy: str = "") -> None:
        parts = [f"{place}: {rule}" if place else rule, remedy[:1].upper() + remedy[1:]]
        super().__init__(" ".join(part if part[-1] in ".?!" else f"{part}." for part in parts if part))
        self.rule, self.place, self.remedy = rule, place, remedy
        self.others: tuple[InputError, ...] = ()

    @property
    def all(self) -> tuple[InputError, ...]:
        """Each of the problems that were found together, as an error of its own."""
        return (InputError(self.rule, place=self.place, remedy=self.remedy), *self.others)

    def __str__(self) -> str:
        first = super().__str__()
        if not self.others:
            return first
        return "\n".join([f"{1 + len(self.others)} problems.", *(f"- {text}" for text in (first, *self.others))])


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


def together(problems: Sequence[InputError]) -> InputError:
    """One error for these problems, of which there is at least one; each is told once."""
    different = list({str(problem): problem for found in problems for problem in found.all}.values())
    error = different[0]
    error.others = tuple(different[1:])
    return error


@contextlib.contextmanager
def collecting(problems: list[InputError]) -> Iterator[None]:
    """Add the InputErrors of a block to the problems, so that what comes after the block is looked at too."""
    try:
        yield
    except InputError as error:
        problems.extend(error.all)


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
