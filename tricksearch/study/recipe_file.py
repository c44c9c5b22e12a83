"""A recipe's file: read and checked against the tricks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from tricksearch.contract.discovery import Registry
from tricksearch.contract.domains import Choice, Domain, DomainError, Json, Net
from tricksearch.contract.errors import InputError, collecting, nearest, together
from tricksearch.contract.trick import Trick, defaults, domains, in_order, trick_name
from tricksearch.records.recipe import Recipe
from tricksearch.records.settings import NetSettings, Settings, TrainSettings
from tricksearch.study.document import (
    _close,
    check_names,
    plugin_registry,
    prepared,
    readable,
    trick_of,
    unavailable,
    validate,
    with_value,
)
from tricksearch.study.yaml_file import Document, Key, read_yaml, shown


def checked_value(document: Document, key: Key, domain: Domain, registry: Registry, net: NetSettings) -> Json:
    """One value of a hyperparameter, checked against its domain; a net that is a file of its own is read."""
    value = document.at(key)
    if isinstance(domain, Net):
        value = _net_value(document, key, registry, net)
    try:
        return domain.check(value)
    except DomainError as error:
        options = domain.options if isinstance(domain, Choice) else ()
        raise document.error(str(error), key, _close(value, options)) from None


class _NetRecipe(Settings):
    """A net that a trick asks for, with a training of its own."""

    net: NetSettings = NetSettings()
    train: TrainSettings = TrainSettings()
    tricks: dict[str, dict[str, Any] | None] = Field(default_factory=dict)


def _net_value(document: Document, key: Key, registry: Registry, net: NetSettings) -> Json:
    value = document.at(key)
    if isinstance(value, str) and value.endswith((".yaml", ".yml")):
        file = document.path.parent / value
        if not file.is_file():
            raise document.error(f"there is no file '{file}'", key, "the file of a net is named relative to this one")
        document, key = read_yaml(file), ()
        value = document.data
    if isinstance(value, dict):
        return _net_recipe(document, key, value, registry)
    if isinstance(value, str) and value:
        _check_net(document, key, NetSettings(name=value, stem=net.stem))
    return value


def _net_recipe(document: Document, key: Key, value: dict[str, Any], registry: Registry) -> dict[str, Json]:
    given = dict(value)
    if isinstance(given.get("net"), str):
        given["net"] = {"name": given["net"]}
    recipe = validate(with_value(document, key, given), _NetRecipe, key)
    if "net" in given:
        _check_net(document, (*key, "net"), recipe.net)
    if "tricks" in given:
        given["tricks"] = recipe_tricks(document, (*key, "tricks"), registry, recipe.net)
    return given


def _check_net(document: Document, key: Key, net: NetSettings) -> None:
    from tricksearch.trial.training.nets import check_net

    try:
        check_net(net)
    except InputError as error:
        inner = (*key, *error.place.split(".")[1:])
        raise document.moved(error, inner if inner in document.lines else key) from None


def recipe_tricks(document: Document, key: Key, registry: Registry, net: NetSettings) -> dict[str, dict[str, Json]]:
    """The tricks of a recipe, each with every value written out."""
    tricks: dict[str, dict[str, Json]] = {}
    problems: list[InputError] = []
    for name, given in (document.at(key) or {}).items():
        if given is not None and not isinstance(given, dict):
            continue  # which the settings have refused
        with collecting(problems):
            tricks[name] = _values(
                document, (*key, name), trick_of(document, (*key, name), name, registry), registry, net
            )
    if problems:
        raise together(problems)
    try:
        in_order(registry[name](**values) for name, values in tricks.items())
    except InputError as error:
        raise document.moved(error, key) from None
    return tricks


def _values(document: Document, key: Key, trick: type[Trick], registry: Registry, net: NetSettings) -> dict[str, Json]:
    """Every value of one trick, its default where the document gives none."""
    known, values = domains(trick), defaults(trick)
    problems: list[InputError] = []
    for field in document.at(key) or {}:
        where = (*key, field)
        with collecting(problems):
            if field not in known:
                name = trick_name(trick)
                raise document.error(f"'{field}' is not a hyperparameter of '{name}'", where, nearest(field, known))
            values[field] = checked_value(document, where, known[field], registry, net)
    with collecting(problems):
        reason = unavailable(trick_name(trick), registry)
        if reason:
            rule = f"this machine cannot run '{trick_name(trick)}': {reason}"
            raise document.error(rule, key, "take the trick out")
    if problems:
        raise together(problems)
    return values


class _RecipeFile(Recipe):
    """A recipe as a file: with the seed of its one trial."""

    tricks: dict[str, dict[str, Any] | None] = Field(default_factory=dict)  # type: ignore[assignment]
    seed: int = Field(0, ge=0)


def load_recipe(path: Path) -> tuple[Recipe, int]:
    """The recipe and the seed of a file for `tricksearch trial`.

    Every hyperparameter that the file leaves out gets its trick's default. Raises InputError.
    """
    document = prepared(read_yaml(path))
    file, problems = readable(document, _RecipeFile)
    if file is None:
        raise together(problems)
    plugins, tricks = file.plugins, {}
    with collecting(problems):
        plugins, registry = plugin_registry(document, file.plugins)
        if isinstance(document.at(("tricks",)), dict | None):
            tricks = recipe_tricks(document, ("tricks",), registry, file.net)
    with collecting(problems):
        check_names(document, file.data, file.net)
    if problems:
        raise together(document.by_line(problems))
    recipe = Recipe(
        data=file.data, net=file.net, train=file.train, latency=file.latency, plugins=plugins, tricks=tricks
    )
    return recipe, file.seed


def first_recipes(document: Document, count: int, registry: Registry, net: NetSettings) -> tuple[Any, ...]:
    """The tricks of every recipe that a study has tried first. Raises InputError for the problems of them all."""
    problems: list[InputError] = []
    firsts = []
    for at in range(count):
        with collecting(problems):
            firsts.append(_first(document, at, registry, net))
    if problems:
        raise together(problems)
    return tuple(firsts)


def _first(document: Document, at: int, registry: Registry, net: NetSettings) -> dict[str, dict[str, Json]]:
    """The tricks of a recipe that is to be tried first: written out, or in a recipe's file."""
    key = ("search", "first", at)
    given = document.at(key)
    if isinstance(given, str):
        return load_recipe(document.path.parent / given)[0].tricks
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        given = dict.fromkeys(given)
    if not isinstance(given, dict) or not all(values is None or isinstance(values, dict) for values in given.values()):
        raise document.error(
            f"a recipe to try first is a mapping of tricks, a list of them, or a recipe's file, got {shown(given)}",
            key,
            "write '- {TRICK: {FIELD: VALUE}}', '- [TRICK, TRICK]' or '- best.yaml'",
        )
    plain = {name: values or {} for name, values in given.items()}
    return recipe_tricks(with_value(document, key, plain), key, registry, net)
