"""From a YAML document to settings and recipes: errors give file, line, key, rule and remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tricksearch.contract import (
    InputError,
    Registry,
    discover,
    nearest,
)
from tricksearch.records.settings import NetSettings
from tricksearch.study.yaml_file import Document, Key, shown

Model = TypeVar("Model", bound=BaseModel)
SECTIONS = ("data", "net", "train", "latency", "search", "plugins")

_RULES = {
    "missing": "is missing",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "too_short": "needs at least {min_length} values",
    "too_long": "takes at most {max_length} values",
    "string_pattern_mismatch": "must have the form {pattern}",
    "int_": "must be a whole number",
    "float_": "must be a number",
    "bool_": "must be true or false",
    "string_": "must be text",
    "tuple_": "must be a list",
    "list_": "must be a list",
    "dict_": "must be a mapping of keys",
    "model_": "must be a mapping of keys",
}


def validate(document: Document, model: type[Model], under: Key = ()) -> Model:
    """The part of a document under a key, as a model. Raises InputError for the problem that comes first."""
    value = document.at(under)
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        problems = sorted(error.errors(), key=lambda error: document.line((*under, *error["loc"])))
        first, more = problems[0], len(problems) - 1
    key: Key = (*under, *first["loc"])
    rule, remedy = _explain(first, model)
    if more:
        rule += f" (and {more} more problem{'s' if more > 1 else ''})"
    raise document.error(rule, key, remedy)


def _explain(problem: Any, model: type[BaseModel]) -> tuple[str, str]:
    """The rule and the remedy of one of pydantic's problems."""
    kind, loc = problem["type"], problem["loc"]
    context = {
        name: f"{value:g}" if isinstance(value, float) else value for name, value in problem.get("ctx", {}).items()
    }
    got = f", got {shown(problem['input'])}"
    if kind == "extra_forbidden":
        return f"'{loc[-1]}' is not a key here", nearest(str(loc[-1]), _fields_at(model, loc[:-1]))
    if kind == "input_error":  # raised by `problem_of`
        return context["rule"], context["remedy"]
    for name, rule in _RULES.items():
        if kind == name or (name.endswith("_") and kind.startswith(name)):
            text = rule.format_map(context)
            remedy = ""
            if kind == "literal_error":
                remedy = _close(problem["input"], re.findall(r"'([^']*)'", context["expected"]))
            return text + ("" if kind == "missing" else got), remedy
    return problem["msg"] + got, ""


def _fields_at(model: type[BaseModel], loc: Key) -> list[str]:
    here: Any = model
    for part in loc:
        here = (
            here.model_fields[part].annotation if hasattr(here, "model_fields") and part in here.model_fields else None
        )
    return list(getattr(here, "model_fields", ()))


def prepared(document: Document) -> Document:
    """The document with its shorthands written out: `net: resnet18`, and a section that has no key in it."""
    data = {key: value for key, value in document.data.items() if value is not None or key not in SECTIONS}
    for key in ("data", "net"):
        if isinstance(data.get(key), str):
            data[key] = {"name": data[key]}
    return replace(document, data=data)


def plugin_registry(document: Document, folders: tuple[str, ...]) -> tuple[tuple[str, ...], Registry]:
    """The `plugins` folders of a file, absolute (they are relative to the file), and every trick."""
    paths = []
    for index, folder in enumerate(folders):
        path = (document.path.parent / Path(folder).expanduser()).resolve()
        if not path.is_dir():
            raise document.error(
                f"there is no plugins folder '{folder}' ({path})",
                ("plugins", index),
                "a folder is named relative to this file",
            )
        paths.append(str(path))
    try:
        return tuple(paths), discover(paths)
    except InputError as error:
        raise document.moved(error, ("plugins",)) if error.place == "plugins" else error from None


def check_names(document: Document, data: str, net: NetSettings) -> None:
    """Raise InputError where there is no such data set or net."""
    # Both bring torch, which a file with a plainer mistake should not have to wait for.
    from tricksearch.trial.data import check_name
    from tricksearch.trial.training.nets import check_net

    try:
        check_name(data)
    except InputError as error:
        raise document.moved(error, ("data", "name")) from None
    try:
        check_net(net)
    except InputError as error:
        raise document.moved(error, tuple(error.place.split("."))) from None


def trick_of(document: Document, key: Key, name: str, registry: Registry) -> Any:
    """The class of a trick that the file names. Raises InputError where there is none."""
    if name not in registry:
        raise document.error(f"there is no trick '{name}'", key, nearest(name, registry))
    return registry[name]


def unavailable(name: str, registry: Registry) -> str | None:
    """Why this machine cannot run a trick, or None. Raises InputError where the trick cannot say."""
    try:
        return registry[name].unavailable()
    except Exception as error:
        raise InputError(f"the trick '{name}' fails when asked whether it is available: {error!r}") from error


def _close(value: Any, options: Iterable[Any]) -> str:
    """The nearest of a few options that the rule has listed already."""
    hint = nearest(str(value), [str(option) for option in options])
    return hint if hint.startswith("did") else ""


def with_value(document: Document, key: Key, value: Any) -> Document:
    """The document with another value at a key."""
    if not key:
        return replace(document, data=value)
    above = document.at(key[:-1])
    changed: Any = dict(above) if isinstance(above, Mapping) else list(above)
    changed[key[-1]] = value
    return with_value(document, key[:-1], changed)
