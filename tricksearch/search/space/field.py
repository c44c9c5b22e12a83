"""A field: one hyperparameter of a trick as a study searches it, and the parameter that a sampler sets for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tricksearch.contract import Choice, Domain, DomainError, Float, Int, Json, Net
from tricksearch.search.space.layout import Setting

DIGITS = 4  # significant digits of a real number that was drawn: a recipe is read by people
Option: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True)
class Field:
    """One hyperparameter: its parameter's name, and its domain or, without one, its only value."""

    name: str
    domain: Domain | None
    when: Mapping[str, Json]  # values of earlier fields without which it does not apply
    value: Json = None

    @classmethod
    def of(cls, name: str, domain: Domain, given: Json) -> Field:
        """The field as the study resolved it: a list is what may be drawn, anything else is the value."""
        if not isinstance(given, list):
            return cls(name, None, domain.when, given)
        narrowed = domain.narrow(given)
        if isinstance(narrowed, Float | Int) and narrowed.low == narrowed.high:
            return cls(name, None, domain.when, narrowed.low)
        if isinstance(narrowed, Choice | Net) and len(narrowed.options) == 1:
            return cls(name, None, domain.when, narrowed.options[0])
        return cls(name, narrowed, domain.when)

    def applies(self, values: Mapping[str, Json]) -> bool:
        """Whether the trick uses it beside these values of its other fields."""
        return all(same(values[other], value) for other, value in self.when.items())

    def read(self, setting: Setting) -> Json:
        """The value that a setting gives it."""
        domain = self.domain
        if isinstance(domain, Float):
            return min(max(_rounded(setting[self.name]), domain.low), domain.high)
        if isinstance(domain, Choice | Net):
            return next(option for option in domain.options if same(coded(option), setting[self.name]))
        return setting[self.name] if domain is not None else self.value

    def distribution(self) -> BaseDistribution:
        """The domain as Optuna writes it."""
        domain = self.domain
        if isinstance(domain, Float):
            return FloatDistribution(domain.low, domain.high, log=domain.log)
        if isinstance(domain, Int):
            return IntDistribution(domain.low, domain.high, log=domain.log)
        return CategoricalDistribution([coded(option) for option in cast(Choice, domain).options])

    def parameter(self, value: Json) -> dict[str, Option] | None:
        """The parameters whose drawing gives the value, or None where the field cannot have it."""
        if self.domain is None:
            return {} if same(value, self.value) else None
        try:
            checked = self.domain.check(value)
        except DomainError:
            return None
        return {self.name: coded(checked) if isinstance(self.domain, Choice | Net) else checked}

    def recommended(self, default: Json) -> Json:
        """The trick's own default, or what of the domain is nearest to it."""
        domain = self.domain
        if domain is None:
            return self.value
        if isinstance(domain, Float | Int):
            return domain.check(min(max(default, domain.low), domain.high))
        try:
            return domain.check(default)
        except DomainError:
            return domain.options[0] if isinstance(domain, Choice | Net) else default

    @property
    def size(self) -> int | None:
        """The number of values; None where there is a continuum."""
        if isinstance(self.domain, Float):
            return None
        if isinstance(self.domain, Int):
            return self.domain.high - self.domain.low + 1
        return len(self.domain.options) if isinstance(self.domain, Choice | Net) else 1


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def coded(option: Json) -> Option:
    """An option as samplers store it: a mapping or a list becomes its JSON."""
    if option is None or isinstance(option, str | int | float | bool):
        return option
    return json.dumps(option, sort_keys=True)


def same(one: Json, other: Json) -> bool:
    """Whether two plain values are equal, and both or neither a truth value."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
