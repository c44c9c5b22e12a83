"""The layout: a search space as named parameters, some of them conditional, and as the numbers that samplers work on.

A setting is a mapping from parameter to value that holds exactly the parameters that are active. A row is the same
as numbers, shape (d,): the index of an option, a real or whole number scaled to [0, 1], and NaN where the parameter
is not active.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

Setting: TypeAlias = dict[str, Any]
Rows: TypeAlias = NDArray[np.float64]
GRID_LEVELS = 3  # values of a range in a grid
NEAR = 0.15  # how far a number of a range moves: standard deviation, as a share of the range
FAR = 0.3  # the share of the moves that go anywhere in the range


@dataclass(frozen=True)
class Parameter:
    """One parameter; with `when` it is active only where each of those earlier parameters has that value."""

    name: str
    domain: BaseDistribution
    when: tuple[tuple[str, Any], ...] = ()

    @cached_property
    def options(self) -> tuple[Any, ...] | None:
        """The options of a categorical, else None."""
        return tuple(self.domain.choices) if isinstance(self.domain, CategoricalDistribution) else None

    @cached_property
    def ordered(self) -> bool:
        """Whether two values can be near to each other: numbers, also those that are given as ascending options."""
        if self.options is None:
            return True
        numbers = all(isinstance(option, int | float) and not isinstance(option, bool) for option in self.options)
        return numbers and list(self.options) == sorted(self.options) and len(self.options) > 2

    @cached_property
    def count(self) -> int | None:
        """The number of values; None for a continuum."""
        if self.options is not None:
            return len(self.options)
        return self.domain.high - self.domain.low + 1 if isinstance(self.domain, IntDistribution) else None

    def number(self, value: Any) -> float:
        """The value as a row holds it."""
        if self.options is not None:
            return float(next(at for at, option in enumerate(self.options) if _same(option, value)))
        low, high = self._ends()
        return (self._scaled(float(value)) - low) / (high - low) if high > low else 0.0

    def value(self, number: float) -> Any:
        """The value that a row's number stands for; numbers are taken to the nearest one."""
        if self.options is not None:
            return self.options[int(number)]
        low, high = self._ends()
        scaled = low + min(1.0, max(0.0, number)) * (high - low)
        domain: Any = self.domain
        plain = min(domain.high, max(domain.low, math.exp(scaled) if domain.log else scaled))
        return round(plain) if isinstance(domain, IntDistribution) else plain

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1) of all values, so that each is met equally often; a log range's as such."""
        if self.count is None or (self.options is None and cast(IntDistribution, self.domain).log):
            return self.value(share)
        nth = int(share * self.count)
        return self.options[nth] if self.options is not None else cast(IntDistribution, self.domain).low + nth

    def snapped(self, numbers: Rows) -> Rows:
        """The numbers (n,) of a range, each as that of the value that it stands for."""
        if self.count is None:
            return numbers
        return np.array([self.number(self.value(float(number))) for number in numbers])

    def grid(self) -> list[Any]:
        """Every value; of a continuum, and of many whole numbers, GRID_LEVELS that are spread evenly."""
        if self.options is not None:
            return list(self.options)
        levels = np.linspace(0, 1, GRID_LEVELS)
        return list(dict.fromkeys(self.value(float(level)) for level in levels))

    def _scaled(self, value: float) -> float:
        domain: Any = self.domain
        return math.log(value) if domain.log else value

    def _ends(self) -> tuple[float, float]:
        domain: Any = self.domain
        return self._scaled(float(domain.low)), self._scaled(float(domain.high))


@dataclass(frozen=True)
class Layout:
    """The parameters of a space; one that is conditional stands behind the one that it waits for."""

    parameters: tuple[Parameter, ...]

    def __len__(self) -> int:
        return len(self.parameters)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {parameter.name: at for at, parameter in enumerate(self.parameters)}

    @cached_property
    def _conditions(self) -> list[list[tuple[int, float]]]:
        """For each parameter the columns that it waits for, and the numbers that must stand there."""
        return [
            [(self._place[name], self.parameters[self._place[name]].number(value)) for name, value in parameter.when]
            for parameter in self.parameters
        ]

    def roots(self) -> dict[str, list[Any]]:
        """The categoricals that are always active, with their options."""
        return {
            parameter.name: list(parameter.options)
            for parameter in self.parameters
            if not parameter.when and parameter.options
        }

    def walk(self, choose: Callable[[Parameter], Any]) -> Setting:
        """A setting whose values are chosen one after the other, the active parameters alone."""
        setting: Setting = {}
        for parameter in self.parameters:
            if _active(parameter, setting):
                setting[parameter.name] = choose(parameter)
        return setting

    def domains(self, setting: Mapping[str, Any]) -> dict[str, BaseDistribution]:
        """Each parameter of a setting with its domain, as Optuna takes it."""
        return {parameter.name: parameter.domain for parameter in self.parameters if parameter.name in setting}

    def row(self, setting: Mapping[str, Any]) -> Rows:
        """A setting as numbers."""
        values = [setting.get(parameter.name, _NONE) for parameter in self.parameters]
        return np.array(
            [
                np.nan if value is _NONE else parameter.number(value)
                for parameter, value in zip(self.parameters, values, strict=True)
            ]
        )

    def setting(self, row: Rows) -> Setting:
        """The setting that the numbers stand for."""
        return self.walk(lambda parameter: parameter.value(float(row[self._place[parameter.name]])))

    def settled(self, rows: Rows, random: np.random.Generator) -> Rows:
        """The rows (n, d) with a NaN wherever a parameter is not active, and a random number where it newly is."""
        rows = rows.copy()
        for at, parameter in enumerate(self.parameters):
            active = np.ones(len(rows), dtype=bool)
            for column, number in self._conditions[at]:
                active &= rows[:, column] == number
            fresh = active & np.isnan(rows[:, at])
            rows[fresh, at] = self._drawn(parameter, int(fresh.sum()), random)
            rows[~active, at] = np.nan
        return rows

    def random(self, n: int, random: np.random.Generator, fixed: Mapping[str, Any] | None = None) -> Rows:
        """Rows (n, d) drawn uniformly at random, but for the parameters that are fixed."""
        rows = np.full((n, len(self)), np.nan)
        for name, value in (fixed or {}).items():
            rows[:, self._place[name]] = self.parameters[self._place[name]].number(value)
        return self.settled(rows, random)

    def changed(self, rows: Rows, changes: int, random: np.random.Generator) -> Rows:
        """Each of the rows (n, d) with that many of its active parameters at another value."""
        rows = rows.copy()
        if not len(self):
            return rows
        order = np.where(np.isnan(rows), -1.0, random.random(rows.shape)).argsort(axis=1)[:, ::-1]
        for nth in range(min(changes, len(self))):
            for at, parameter in enumerate(self.parameters):
                chosen = (order[:, nth] == at) & ~np.isnan(rows[:, at])
                if chosen.any():
                    rows[chosen, at] = self._moved(parameter, rows[chosen, at], random)
        return self.settled(rows, random)

    @cached_property
    def nominal(self) -> NDArray[np.bool_]:
        """Which parameters have options in no order, (d,): two values of them are equal or not."""
        return np.array([not parameter.ordered for parameter in self.parameters], dtype=bool)

    def coded(self, rows: Rows) -> Rows:
        """The rows (n, d) as a model reads them: ordered parameters in [0, 1], the index of an option otherwise.

        Where a parameter is not active it stands in the middle of its range, or is an option of its own.
        """
        codes = np.empty_like(rows)
        for at, parameter in enumerate(self.parameters):
            last = len(parameter.options) - 1 if parameter.options is not None else 1
            idle = last / 2 if parameter.ordered else -1.0
            codes[:, at] = np.nan_to_num(rows[:, at], nan=idle) / (last if parameter.ordered else 1)
        return codes

    def key(self, setting: Mapping[str, Any]) -> Hashable:
        """What two settings have in common that are the same: 16 bytes, since a sampler keeps one for each trial."""
        return hashlib.blake2b(repr(sorted(setting.items())).encode(), digest_size=16).digest()

    def grid(self) -> tuple[int, Callable[[int], Setting]]:
        """The number of settings on the grid of all parameters' grid values, and the n-th of them."""
        trees: dict[str, list[Setting]] = {}
        root_of: dict[str, str] = {}
        for parameter in self.parameters:
            root = root_of[parameter.name] = root_of[parameter.when[0][0]] if parameter.when else parameter.name
            trees[root] = [
                {**way, parameter.name: value} if active else way
                for way in trees.get(root, [{}])
                for active in [_active(parameter, way)]
                for value in (parameter.grid() if active else [None])
            ]
        total = math.prod(len(tree) for tree in trees.values())

        def nth(index: int) -> Setting:
            setting: Setting = {}
            for tree in trees.values():
                index, at = divmod(index, len(tree))
                setting |= tree[at]
            return {
                parameter.name: setting[parameter.name] for parameter in self.parameters if parameter.name in setting
            }

        return total, nth

    @staticmethod
    def _drawn(parameter: Parameter, n: int, random: np.random.Generator) -> Rows:
        """TrialNumbers (n,) drawn uniformly at random."""
        drawn = random.random(n)
        return (
            drawn
            if parameter.count is None
            else np.array([parameter.number(parameter.at(position)) for position in drawn])
        )

    def _moved(self, parameter: Parameter, numbers: Rows, random: np.random.Generator) -> Rows:
        """Other numbers (n,): another option; of a range mostly one that is near."""
        n = len(numbers)
        if parameter.options is not None:
            others = len(parameter.options) - 1
            return (numbers + random.integers(1, others + 1, n)) % (others + 1) if others else numbers
        width = max(NEAR, 1 / (parameter.count - 1)) if parameter.count and parameter.count > 1 else NEAR
        near = np.clip(numbers + random.normal(0, width, n), 0, 1)
        return np.where(random.random(n) < FAR, self._drawn(parameter, n, random), parameter.snapped(near))


_NONE = object()  # None may be an option


def _active(parameter: Parameter, setting: Mapping[str, Any]) -> bool:
    return all(name in setting and _same(setting[name], value) for name, value in parameter.when)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
