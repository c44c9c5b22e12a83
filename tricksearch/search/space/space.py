"""The search space: a study's tricks as parameters that a sampler can draw, and the way back."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import CategoricalDistribution

from tricksearch.contract import Choice, InputError, Json, Registry, defaults, domains, hooks, source_file, stages
from tricksearch.search.space.field import Field, Option, coded, same
from tricksearch.search.space.layout import Layout, Parameter, Setting
from tricksearch.study.study import Study

OFF, ON = "off", "on"


@dataclass(frozen=True)
class _Switch:
    """One categorical at the top: each of its options with the trick that it turns on, if any."""

    name: str
    tricks: Mapping[str, str | None]


@dataclass(frozen=True)
class Space:
    """What a study searches. Build it with `Space.of`."""

    forced: tuple[str, ...]
    _switches: tuple[_Switch, ...]
    _fields: Mapping[str, tuple[tuple[str, Field], ...]]  # trick -> its hyperparameters, in their order
    _defaults: Mapping[str, Mapping[str, Json]]
    _stages: Mapping[str, tuple[str, ...]]
    shaping: frozenset[str]  # tricks that can change the graph
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
                (field, Field.of(f"{name}.{field}", domain, study.tricks[name].fields[field]))
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
            frozenset(
                name for name in fields if "model" in hooks(registry[name]) or set(stages(registry[name])) - {"train"}
            ),
            frozenset(name for name in fields if registry[name].branches),
        )
        _refuse_shared_names(space, registry)
        return space

    def tricks_of(self, setting: Setting) -> dict[str, dict[str, Json]]:
        """The tricks that a setting of the layout stands for, by name, each with every value.

        No two of them claim one tag.
        """
        on = list(self.forced)
        for switch in self._switches:
            trick = switch.tricks[str(setting[switch.name])]
            if trick is not None:
                on.append(trick)
        return {name: self._values(name, setting) for name in sorted(on)}

    def _values(self, name: str, setting: Setting) -> dict[str, Json]:
        values: dict[str, Json] = {}
        for field, parameter in self._fields[name]:
            values[field] = parameter.read(setting) if parameter.applies(values) else self._idle(name, field, parameter)
        return values

    def _idle(self, name: str, field: str, parameter: Field) -> Json:
        """The value of a field that does not apply, always one: recipes that differ in it alone would be one recipe."""
        return parameter.recommended(self._defaults[name][field])

    def parameters(self, tricks: Mapping[str, Mapping[str, Json]]) -> dict[str, Any] | None:
        """The parameters whose drawing gives these tricks, or None where they do not fit this space."""
        parameters: dict[str, Any] = {}
        expected = set(self.forced)
        for switch in self._switches:
            on = {option: name for option, name in switch.tricks.items() if name in tricks}
            if len(on) > 1:
                return None
            parameters[switch.name] = next(iter(on), OFF)
            expected |= {name for name in on.values() if name is not None}
        if expected != set(tricks):
            return None
        for name, values in sorted(tricks.items()):
            if set(values) != {field for field, _ in self._fields[name]}:
                return None
            for field, searched in self._fields[name]:
                if not searched.applies(values):
                    continue  # whatever it holds, as in the records of an earlier version
                parameter = searched.parameter(values[field])
                if parameter is None:
                    return None
                parameters |= parameter
        return parameters

    def layout(self) -> Layout:
        """The parameters that a sampler sets: the switches, and behind them each trick's hyperparameters."""
        parameters = [Parameter(switch.name, CategoricalDistribution(list(switch.tricks))) for switch in self._switches]
        needs: dict[str, tuple[tuple[str, Option], ...]] = dict.fromkeys(self.forced, ())
        for switch in self._switches:
            needs |= {name: ((switch.name, option),) for option, name in switch.tricks.items() if name is not None}
        for name, fields in sorted(self._fields.items()):
            known = dict(fields)
            for _, parameter in fields:
                fixed = {other: known[other].value for other in parameter.when if known[other].domain is None}
                if parameter.domain is None or not all(
                    same(parameter.when[other], value) for other, value in fixed.items()
                ):
                    continue
                decided = tuple(
                    (known[other].name, coded(value)) for other, value in parameter.when.items() if other not in fixed
                )
                parameters.append(Parameter(parameter.name, parameter.distribution(), needs[name] + decided))
        return Layout(tuple(parameters))

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
        variants: list[dict[str, dict[str, Json]]] = [{name: here[name] for name in self.forced}]
        for switch in self._switches:
            options = self._instead(switch, here, how)
            variants = [{**recipe, **option} for recipe in variants for option in options]
        ordered = [dict(sorted(recipe.items())) for recipe in variants]
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
            values = here.get(name) or self._recommended(name)
            for chosen in self._choices(name, values) if how == "all" else [values]:
                if {name: chosen} not in options:
                    options.append({name: chosen})
        return options

    def _choices(self, name: str, values: Mapping[str, Json]) -> list[dict[str, Json]]:
        """The values, and with each other combination of the choices among them."""
        choices = [dict(values)]
        for field, parameter in self._fields[name]:
            choices = [
                {**one, field: option} for one in choices for option in self._options(name, field, parameter, one)
            ]
        return choices

    def _options(self, name: str, field: str, parameter: Field, values: Mapping[str, Json]) -> tuple[Json, ...]:
        if not parameter.applies(values):
            return (self._idle(name, field, parameter),)
        return parameter.domain.options if isinstance(parameter.domain, Choice) else (values[field],)

    def factors(self) -> list[tuple[str, ...]]:
        """The tricks that are searched, those that claim one tag together: at most one of each is on."""
        return [tuple(name for name in switch.tricks.values() if name is not None) for switch in self._switches]

    def recommended(self, names: Collection[str]) -> dict[str, dict[str, Json]]:
        """These tricks and the forced ones, each at its recommended values, within its domain."""
        return {name: self._recommended(name) for name in sorted({*self.forced, *names})}

    def _recommended(self, name: str) -> dict[str, Json]:
        return {field: parameter.recommended(self._defaults[name][field]) for field, parameter in self._fields[name]}

    def size(self) -> int | None:
        """The number of distinct recipes, or None where a real number is searched."""
        if any(parameter.size is None for fields in self._fields.values() for _, parameter in fields):
            return None
        of = {name: self._count(name) for name in self._fields}
        forced = math.prod(of[name] for name in self.forced)
        return forced * math.prod(
            sum(1 if name is None else of[name] for name in switch.tricks.values()) for switch in self._switches
        )

    def _count(self, name: str) -> int:
        """The number of distinct values of a trick whose fields are all finite."""
        deciding = {other for _, parameter in self._fields[name] for other in parameter.when}
        counts: list[tuple[dict[str, Json], int]] = [({}, 1)]  # values of those that decide, and how many of the others
        for field, parameter in self._fields[name]:
            if field in deciding:
                counts = [
                    ({**values, field: option}, count)
                    for values, count in counts
                    for option in self._options(name, field, parameter, {**values, field: parameter.value})
                ]
            else:
                counts = [
                    (values, count * ((parameter.size or 1) if parameter.applies(values) else 1))
                    for values, count in counts
                ]
        return sum(count for _, count in counts)


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
            switches.append(_Switch(registry[name].claims, {OFF: None, **{rival: rival for rival in rivals}}))
    return switches


def _refuse_shared_names(space: Space, registry: Registry) -> None:
    """Raise InputError where a tag, a trick and a hyperparameter would be one parameter of the sampler."""
    seen: set[str] = set()
    names = [switch.name for switch in space._switches]
    names += [parameter.name for fields in space._fields.values() for _, parameter in fields]
    for name in names:
        if name in seen:
            claiming = next(trick for trick in space._fields if registry[trick].claims == name)
            raise InputError(
                f"the claim '{name}' has the name of another trick or of its hyperparameter",
                place=str(source_file(registry[claiming])),
                remedy="rename the claim",
            )
        seen.add(name)
