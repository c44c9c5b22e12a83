"""The names that people give to splits, for folders and for arrays."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from types import MappingProxyType
from typing import TypeVar

from tricksearch.contract import InputError

NAMES = MappingProxyType(
    {
        "train": ("train", "training"),
        "validation": ("validation", "valid", "val", "dev"),
        "test": ("test", "testing"),
    }
)
Role = TypeVar("Role", bound=Hashable)
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

    def clash(split: str, first: str, second: str) -> InputError:
        return InputError(
            f"{what} '{first}' and '{second}' both claim to be the {split} split",
            place=place,
            remedy=f"keep one of them, or give the other one a name that is none of {', '.join(sorted(_SPLIT_OF))}",
        )

    return by_role(names, split_named, clash)


def by_role(
    names: Iterable[str], role_of: Callable[[str], Role | None], clash: Callable[[Role, str, str], InputError]
) -> dict[Role, str]:
    """Each role with the one name that has it, without names that have none. Raises `clash` where two have one role."""
    chosen: dict[Role, str] = {}
    for name in sorted(names):
        role = role_of(name)
        if role is None:
            continue
        if role in chosen:
            raise clash(role, chosen[role], name)
        chosen[role] = name
    return chosen
