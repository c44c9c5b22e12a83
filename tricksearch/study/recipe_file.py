"""A recipe's file: read and checked against the tricks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from tricksearch.contract.discovery import Registry
from tricksearch.contract.domains import Choice, Domain, DomainError, Json, Net
from tricksearch.contract.errors import InputError, nearest
from tricksearch.contract.trick import defaults, domains, in_order
from tricksearch.records.recipe import Recipe
from tricksearch.records.settings import NetSettings, Settings, TrainSettings
from tricksearch.study.document import (
    _close,
    check_names,
    plugin_registry,
    prepared,
    trick_of,
    unavailable,
    validate,
    with_value,
)
from tricksearch.study.yaml_file import Document, Key, read_yaml


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
    for name, given in (document.at(key) or {}).items():
        trick = trick_of(document, (*key, name), name, registry)
        known = domains(trick)
        tricks[name] = defaults(trick)
        for field in given or {}:
            where = (*key, name, field)
            if field not in known:
                raise document.error(f"'{field}' is not a hyperparameter of '{name}'", where, nearest(field, known))
            tricks[name][field] = checked_value(document, where, known[field], registry, net)
        reason = unavailable(name, registry)
        if reason:
            raise document.error(f"this machine cannot run '{name}': {reason}", (*key, name), "take the trick out")
    try:
        in_order(registry[name](**values) for name, values in tricks.items())
    except InputError as error:
        raise document.moved(error, key) from None
    return tricks


class _RecipeFile(Recipe):
    """A recipe as a file: with the seed of its one trial."""

    tricks: dict[str, dict[str, Any] | None] = Field(default_factory=dict)  # type: ignore[assignment]
    seed: int = Field(0, ge=0)


def load_recipe(path: Path) -> tuple[Recipe, int]:
    """The recipe and the seed of a file for `tricksearch trial`.

    Every hyperparameter that the file leaves out gets its trick's default. Raises InputError.
    """
    document = prepared(read_yaml(path))
    file = validate(document, _RecipeFile)
    plugins, registry = plugin_registry(document, file.plugins)
    tricks = recipe_tricks(document, ("tricks",), registry, file.net)
    check_names(document, file.data.name, file.net)
    recipe = Recipe(
        data=file.data, net=file.net, train=file.train, latency=file.latency, plugins=plugins, tricks=tricks
    )
    return recipe, file.seed
