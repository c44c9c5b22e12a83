"""Domains: what the search may draw for one hyperparameter. They stand in the annotation of a trick's field.

A domain holds every value that is *valid*; a study may narrow it, or fix one value of it. With
`search=False` the field stays at its default unless a study narrows it itself. With `when={"mode": "static"}` it is
in use only beside that value of an earlier field, an unconditional `Choice`; elsewhere it stays at its default.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Json = Any  # a plain JSON value: what a recipe may hold and what crosses to a worker


class DomainError(ValueError):
    """A value or a narrowing that the domain does not admit. The message gives the rule and the value."""


@dataclass(frozen=True)
class Domain(ABC):
    """The values that one hyperparameter may take."""

    when: Mapping[str, Json] = field(default_factory=dict, kw_only=True, hash=False)

    @abstractmethod
    def check(self, value: Json) -> Json:
        """Return the value in the domain's own type. Raises DomainError where it is not admitted."""

    @abstractmethod
    def narrow(self, values: list[Json]) -> Domain:
        """Return the smaller domain that a study's list asks for. Raises DomainError."""

    @abstractmethod
    def describe(self) -> str:
        """The domain in a few characters, for tables and errors."""

    @property
    @abstractmethod
    def searched(self) -> bool:
        """Whether the search draws from it."""


def _number(value: Json) -> int | float:
    # A whole number stays one: as a float it would lose digits above 2**53, and overflow above 1e308.
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole or (isinstance(value, float) and math.isfinite(value)):
        return value  # type: ignore[no-any-return]
    raise DomainError(f"a number is needed, not {value!r}")


@dataclass(frozen=True)
class _Interval(Domain):
    """The closed interval from low to high."""

    low: float
    high: float
    log: bool = False
    search: bool = True

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise DomainError(f"the lower end must not be above the upper end, got [{self.low}, {self.high}]")
        if self.log and self.low <= 0:
            raise DomainError(f"a logarithmic domain must be above 0, got [{self.low}, {self.high}]")

    def narrow(self, values: list[Json]) -> Domain:
        if len(values) != 2:
            raise DomainError(f"two ends [low, high] are needed, got {values!r}")
        low, high = (self.check(value) for value in values)
        if low > high:
            raise DomainError(f"the lower end must not be above the upper end, got [{low}, {high}]")
        return replace(self, low=low, high=high, search=True)

    def describe(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", log" if self.log else "")

    @property
    def searched(self) -> bool:
        return self.search


@dataclass(frozen=True)
class Float(_Interval):
    """A real number in [low, high]; drawn on a logarithmic scale where `log` is set.

    >>> Float(0.0, 0.3).check(0.1)
    0.1
    >>> Float(0.0, 0.3).check(0.5)
    Traceback (most recent call last):
    tricksearch.contract.domains.DomainError: must be 0 to 0.3, got 0.5
    """

    def check(self, value: Json) -> float:
        number = _number(value)
        if not self.low <= number <= self.high:
            raise DomainError(f"must be {self.describe()}, got {value}")
        return float(number)


@dataclass(frozen=True)
class Int(_Interval):
    """A whole number in [low, high], both ends included.

    >>> Int(4, 32).narrow([8, 16]).describe()
    '8 to 16'
    """

    low: int
    high: int

    def check(self, value: Json) -> int:
        number = _number(value)
        if number != int(number):
            raise DomainError(f"a whole number is needed, got {value}")
        if not self.low <= number <= self.high:
            raise DomainError(f"must be {self.describe()}, got {value}")
        return int(number)


def _same(option: Json, value: Json) -> bool:
    return bool(option == value) and isinstance(option, bool) == isinstance(value, bool)  # to Python, True == 1


@dataclass(frozen=True)
class Choice(Domain):
    """One of a few named options.

    >>> Choice("l1", "l2").check("L3")
    Traceback (most recent call last):
    tricksearch.contract.domains.DomainError: must be one of l1, l2, got 'L3'
    """

    options: tuple[Json, ...]
    search: bool = True

    def __init__(self, *options: Json, search: bool = True, when: Mapping[str, Json] | None = None) -> None:
        if not options:
            raise DomainError("a choice needs at least one option")
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "search", search)
        object.__setattr__(self, "when", when or {})

    def check(self, value: Json) -> Json:
        for option in self.options:
            if _same(option, value):
                return option
        raise DomainError(f"must be one of {self.describe()}, got {value!r}")

    def narrow(self, values: list[Json]) -> Domain:
        if not values:
            raise DomainError("a list of options must not be empty")
        kept: list[Json] = []
        for option in map(self.check, values):
            if not any(_same(option, other) for other in kept):
                kept.append(option)
        return Choice(*kept, when=self.when)

    def describe(self) -> str:
        return ", ".join(str(option) for option in self.options)

    @property
    def searched(self) -> bool:
        return self.search and len(self.options) > 1


@dataclass(frozen=True)
class Net(Domain):
    """A net by name, "" for the study's own, or a mapping with the keys of a recipe (net, train, tricks).

    Searched only over the list that a study gives. That a name exists is checked by the engine, which
    knows the nets.
    """

    options: tuple[Json, ...] = ()

    def check(self, value: Json) -> Json:
        if not isinstance(value, str | dict):
            raise DomainError(f"a net's name or a recipe (a mapping) is needed, got {value!r}")
        if self.options and value not in self.options:
            raise DomainError(f"must be one of {self.describe()}, got {value!r}")
        return value

    def narrow(self, values: list[Json]) -> Domain:
        if not values:
            raise DomainError("a list of nets must not be empty")
        return replace(self, options=tuple(self.check(value) for value in values))

    def describe(self) -> str:
        return ", ".join(str(option) for option in self.options) or "a net or a recipe"

    @property
    def searched(self) -> bool:
        return len(self.options) > 1
