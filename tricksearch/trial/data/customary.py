"""The names that people give to splits, for folders and for arrays."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from tricksearch.contract import InputError

NAMES = MappingProxyType(
    {
        "train": ("train", "training"),
        "validation": ("validation", "valid", "val", "dev"),
        "test": ("test", "testing"),
    }
)
_SPLIT_OF = {name: split for split, names in NAMES.items() for name in names}


def split_named(name: str) -> str | None:
    """'train', 'validation' or 'test' where this is a customary name of that split, in capitals or not.

    >>> split_named("Valid"), split_named("extra")
    ('validation', None)
    """
    return _SPLIT_OF.get(name.casefold())


def by_split(names: Iterable[str], place: str, what: str) -> dict[str, str]:
    """Each split with the one of these names that stands for it. `what` they are is for the error: 'the folders'.

    Raises InputError where two stand for the same one.
    """
    chosen: dict[str, str] = {}
    for name in sorted(names):
        split = split_named(name)
        if split is None:
            continue
        if split in chosen:
            raise InputError(
                f"{what} '{chosen[split]}' and '{name}' both claim to be the {split} split",
                place=place,
                remedy=f"keep one of them, or give the other one a name that is none of {', '.join(sorted(_SPLIT_OF))}",
            )
        chosen[split] = name
    return chosen
