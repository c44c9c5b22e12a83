"""The search space: a study's tricks as parameters that a sampler can draw, and the way back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from tricksearch.contract import (
    Choice,
    Domain,
    DomainError,
    Float,
    InputError,
    Int,
    Json,
    Net,
    Registry,
    defaults,
    domains,
    source_file,
    stages,
)
from tricksearch.search.study import Study

OFF, ON = "off", "on"
DIGITS = 4  # significant digits of a real number that was drawn: a recipe is read by people

Option: TypeAlias = str | int | float | bool | None
Real: TypeAlias = float  # `Suggest` has methods of the types' own names
Whole: TypeAlias = int


class Suggest(Protocol):
    """Whatever draws one value of a named parameter: a sampler, a random generator, stored values."""

    def float(self, name: str, low: Real, high: Real, log: bool) -> Real:
        """A real number in [low, high]."""

    def int(self, name: str, low: Whole, high: Whole, log: bool) -> Whole:
        """A whole number in [low, high]."""

    def categorical(self, name: str, options: Sequence[Option]) -> Option:
        """One of the options."""


@dataclass(frozen=True)
class _Switch:
    """One categorical at the top: each of its options with the trick that it turns on, if any."""

    name: str
    tricks: Mapping[str, str | None]


@dataclass(frozen=True)
class _Field:
    """One hyperparameter: its parameter's name, and its domain or, without one, its only value."""

    name: str
    domain: Domain | None
    when: Mapping[str, Json]  # values of earlier fields without which it is not heeded
    value: Json = None

    @classmethod
    def of(cls, name: str, domain: Domain, given: Json) -> _Field:
        """The field as the study resolved it: a list is what may be drawn, anything else is the value."""
        if not isinstance(given, list):
            return cls(name, None, domain.when, given)
        narrowed = domain.narrow(given)
        if isinstance(narrowed, Float | Int) and narrowed.low == narrowed.high:
            return cls(name, None, domain.when, narrowed.low)
        if isinstance(narrowed, Choice | Net) and len(narrowed.options) == 1:
            return cls(name, None, domain.when, narrowed.options[0])
        return cls(name, narrowed, domain.when)

    def heeded(self, values: Mapping[str, Json]) -> bool:
        """Whether the trick heeds it beside these values of its other fields."""
        return all(_same(values[other], value) for other, value in self.when.items())

    def draw(self, suggest: Suggest) -> Json:
        """A value of the domain."""
        domain = self.domain
        if isinstance(domain, Float):
            drawn = suggest.float(self.name, domain.low, domain.high, domain.log)
            return min(max(_rounded(drawn), domain.low), domain.high)
        if isinstance(domain, Int):
            return suggest.int(self.name, domain.low, domain.high, domain.log)
        if isinstance(domain, Choice | Net):
            coded = [_coded(option) for option in domain.options]
            drawn_option = suggest.categorical(self.name, coded)
            return domain.options[_position(drawn_option, coded)]
        return self.value

    def parameter(self, value: Json) -> dict[str, Option] | None:
        """The parameters whose drawing gives the value, or None where the field cannot have it."""
        if self.domain is None:
            return {} if _same(value, self.value) else None
        try:
            checked = self.domain.check(value)
        except DomainError:
            return None
        return {self.name: _coded(checked) if isinstance(self.domain, Choice | Net) else checked}

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


@dataclass(frozen=True)
class Space:
    """What a study searches. Build it with `Space.of`."""

    forced: tuple[str, ...]
    _switches: tuple[_Switch, ...]
    _fields: Mapping[str, tuple[tuple[str, _Field], ...]]  # trick -> its hyperparameters, in their order
    _defaults: Mapping[str, Mapping[str, Json]]
    _stages: Mapping[str, tuple[str, ...]]
    _branching: frozenset[str]  # tricks that `variants: search` puts on by itself

    @classmethod
    def of(cls, study: Study, registry: Registry) -> Space:
        """The space of a study. Raises InputError where two of its parameters would share a name."""
        forced = sorted(name for name, use in study.tricks.items() if use.use == "always")
        taken = {registry[name].claims for name in forced} - {""}
        free = sorted(
            name for name, use in study.tricks.items() if use.use == "search" and registry[name].claims not in taken
        )
        fields = {
            name: tuple(
                (field, _Field.of(f"{name}.{field}", domain, study.tricks[name].fields[field]))
                for field, domain in domains(registry[name]).items()
            )
            for name in (*forced, *free)
        }
        space = cls(
            tuple(forced),
            tuple(_switches(free, registry)),
            fields,
            {name: defaults(registry[name]) for name in fields},
            {name: stages(registry[name]) for name in fields},
            frozenset(name for name in fields if registry[name].branches),
        )
        _refuse_shared_names(space, registry)
        return space

    def draw(self, suggest: Suggest) -> dict[str, dict[str, Json]]:
        """The tricks of one recipe, by name, each with every value. No two of them claim one tag."""
        on = list(self.forced)
        for switch in self._switches:
            trick = switch.tricks[str(suggest.categorical(switch.name, list(switch.tricks)))]
            if trick is not None:
                on.append(trick)
        return {name: self._drawn(name, suggest) for name in sorted(on)}

    def _drawn(self, name: str, suggest: Suggest) -> dict[str, Json]:
        values: dict[str, Json] = {}
        for field, each in self._fields[name]:
            values[field] = each.draw(suggest) if each.heeded(values) else self._idle(name, field, each)
        return values

    def _idle(self, name: str, field: str, each: _Field) -> Json:
        """The value of a field that is not heeded, always one: recipes that differ in it alone would be one recipe."""
        return each.recommended(self._defaults[name][field])

    def parameters(self, tricks: Mapping[str, Mapping[str, Json]]) -> dict[str, Any] | None:
        """The parameters whose drawing gives these tricks, or None where they do not fit this space."""
        found: dict[str, Any] = {}
        expected = set(self.forced)
        for switch in self._switches:
            on = {option: name for option, name in switch.tricks.items() if name in tricks}
            if len(on) > 1:
                return None
            found[switch.name] = next(iter(on), OFF)
            expected |= {name for name in on.values() if name is not None}
        if expected != set(tricks):
            return None
        for name, values in sorted(tricks.items()):
            if set(values) != {field for field, _ in self._fields[name]}:
                return None
            for field, each in self._fields[name]:
                if not each.heeded(values):
                    continue  # whatever it holds, as in the records of an earlier version
                parameter = each.parameter(values[field])
                if parameter is None:
                    return None
                found |= parameter
        return found

    def variants(self, tricks: Mapping[str, Mapping[str, Json]], how: str) -> list[dict[str, dict[str, Json]]]:
        """What else can be made of the net that these tricks train, without training: other recipes of this space.

        With "search" every trick that acts behind the compression and `branches` is put on and off, at the values that
        it has here or its recommended ones, and what compresses is taken off. With "all" the tricks that do not branch
        by themselves are put on too, and each option of a trick's choices is taken.
        With "none", and for tricks that are no recipe of this space, there are none.
        """
        if how == "none" or self.parameters(tricks) is None:
            return []
        here = {name: dict(values) for name, values in tricks.items()}
        found: list[dict[str, dict[str, Json]]] = [{name: here[name] for name in self.forced}]
        for switch in self._switches:
            options = self._instead(switch, here, how)
            found = [{**recipe, **option} for recipe in found for option in options]
        ordered = [dict(sorted(recipe.items())) for recipe in found]
        return [recipe for recipe in ordered if recipe != here]

    def _instead(
        self, switch: _Switch, here: Mapping[str, dict[str, Json]], how: str
    ) -> list[dict[str, dict[str, Json]]]:
        """What a switch may stand on when the training stays as it is; first how it stands."""
        on = next((name for name in switch.tricks.values() if name in here), None)
        if on is not None and "train" in self._stages[on]:
            return [{on: here[on]}]
        options: list[dict[str, dict[str, Json]]] = [{on: here[on]}] if on is not None else []
        options.append({})
        for name in switch.tricks.values():
            if name is None or {"train", "compress"} & set(self._stages[name]):
                continue
            if how != "all" and name not in self._branching and name != on:
                continue
            values = here.get(name) or {
                field: each.recommended(self._defaults[name][field]) for field, each in self._fields[name]
            }
            for chosen in self._choices(name, values) if how == "all" else [values]:
                if {name: chosen} not in options:
                    options.append({name: chosen})
        return options

    def _choices(self, name: str, values: Mapping[str, Json]) -> list[dict[str, Json]]:
        """The values, and with each other combination of the choices among them."""
        found = [dict(values)]
        for field, each in self._fields[name]:
            found = [{**one, field: option} for one in found for option in self._options(name, field, each, one)]
        return found

    def _options(self, name: str, field: str, each: _Field, values: Mapping[str, Json]) -> tuple[Json, ...]:
        if not each.heeded(values):
            return (self._idle(name, field, each),)
        return each.domain.options if isinstance(each.domain, Choice) else (values[field],)

    def switches(self) -> dict[str, list[str]]:
        """The top-level categoricals: "off" and "on", or "off" and the tricks of one claim."""
        return {switch.name: list(switch.tricks) for switch in self._switches}

    def size(self) -> int | None:
        """The number of distinct recipes, or None where a real number is searched."""
        if any(each.size is None for fields in self._fields.values() for _, each in fields):
            return None
        of = {name: self._count(name) for name in self._fields}
        forced = math.prod(of[name] for name in self.forced)
        return forced * math.prod(
            sum(1 if name is None else of[name] for name in switch.tricks.values()) for switch in self._switches
        )

    def _count(self, name: str) -> int:
        """The number of distinct values of a trick whose fields are all finite."""
        deciding = {other for _, each in self._fields[name] for other in each.when}
        found: list[tuple[dict[str, Json], int]] = [({}, 1)]  # values of those that decide, and how many of the others
        for field, each in self._fields[name]:
            if field in deciding:
                found = [
                    ({**values, field: option}, count)
                    for values, count in found
                    for option in self._options(name, field, each, {**values, field: each.value})
                ]
            else:
                found = [(values, count * ((each.size or 1) if each.heeded(values) else 1)) for values, count in found]
        return sum(count for _, count in found)


def _switches(free: Sequence[str], registry: Registry) -> list[_Switch]:
    """One switch for each claim that several of these tricks make, and one for each other trick."""
    claiming: dict[str, list[str]] = {}
    for name in free:
        claiming.setdefault(registry[name].claims, []).append(name)
    switches = []
    for name in free:
        rivals = claiming[registry[name].claims] if registry[name].claims else [name]
        if len(rivals) == 1:
            switches.append(_Switch(name, {OFF: None, ON: name}))
        elif rivals[0] == name:
            switches.append(_Switch(registry[name].claims, {OFF: None, **{each: each for each in rivals}}))
    return switches


def _refuse_shared_names(space: Space, registry: Registry) -> None:
    """Raise InputError where a tag, a trick and a hyperparameter would be one parameter of the sampler."""
    seen: set[str] = set()
    names = [switch.name for switch in space._switches]
    names += [each.name for fields in space._fields.values() for _, each in fields]
    for name in names:
        if name in seen:
            claiming = next(trick for trick in space._fields if registry[trick].claims == name)
            raise InputError(
                f"the claim '{name}' has the name of another trick or of its hyperparameter",
                place=str(source_file(registry[claiming])),
                remedy="rename the claim",
            )
        seen.add(name)


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def _coded(option: Json) -> Option:
    """An option as samplers store it: a mapping or a list becomes its JSON."""
    if option is None or isinstance(option, str | int | float | bool):
        return option
    return json.dumps(option, sort_keys=True)


def _same(one: Json, other: Json) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _position(drawn: Option, coded: Sequence[Option]) -> int:
    return next(index for index, option in enumerate(coded) if _same(drawn, option))
