"""From a YAML document to settings and recipes: errors give file, line, key, rule and remedy."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from tricksearch.contract import (
    InputError,
    Registry,
    collecting,
    discover,
    nearest,
    together,
)
from tricksearch.records.settings import DataSettings, NetSettings
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
    """The part of a document under a key, as a model. Raises InputError for all problems of it."""
    read, problems = readable(document, model, under)
    if read is None or problems:
        raise together(problems)
    return read


def readable(document: Document, model: type[Model], under: Key = ()) -> tuple[Model | None, list[InputError]]:
    """The part of a document under a key, without the values that it cannot have; and the problems, by their lines.

    None where nothing can be read without them.
    """
    value: Any = document.at(under)
    value = {} if value is None else value
    problems: list[InputError] = []
    while True:
        try:
            return model.model_validate(value), problems
        except ValidationError as error:
            errors = error.errors()
        if not problems:
            errors.sort(key=lambda bad: document.line((*under, *bad["loc"])))
            explained = ((bad["loc"], _explain(bad, model)) for bad in errors)
            problems = [document.error(rule, (*under, *loc), remedy) for loc, (rule, remedy) in explained]
        smaller = value
        for bad in errors:
            smaller = _without(smaller, bad["loc"])
        if smaller == value:
            return _without_any(model, value), problems
        value = smaller


def _without_any(model: type[Model], value: Any) -> Model | None:
    """The model without one of its keys: what is wrong is that another one is missing."""
    for left_out in value if isinstance(value, Mapping) else ():
        with contextlib.suppress(ValidationError):
            return model.model_validate({key: kept for key, kept in value.items() if key != left_out})
    return None


def _without(value: Any, loc: Key) -> Any:
    """A value without what stands at a place in it; where that is in a list, without the list."""
    if not isinstance(value, Mapping) or not loc or loc[0] not in value:
        return value
    inner = _without(value[loc[0]], loc[1:])
    if inner is not value[loc[0]] and inner != value[loc[0]]:
        return {**value, loc[0]: inner}
    return {key: kept for key, kept in value.items() if key != loc[0]}


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
    """The keys that a part of a model knows; a place in a list or a mapping of models is passed through."""
    here: list[Any] = [model]
    for part in loc:
        fields = [model.model_fields[part].annotation for model in here if part in model.model_fields]
        here = [found for annotation in fields for found in _models(annotation)] or here
    return [name for model in here for name in model.model_fields]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The settings that a type holds: itself, or one of its options, of a list's items or of a mapping's values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def prepared(document: Document) -> Document:
    """The document with its shorthands written out: `net: resnet18`, and a section that has no key in it."""
    data = {key: value for key, value in document.data.items() if value is not None or key not in SECTIONS}
    for key in ("data", "net"):
        if isinstance(data.get(key), str):
            data[key] = {"name": data[key]}
    return replace(document, data=data)


def plugin_registry(document: Document, folders: tuple[str, ...]) -> tuple[tuple[str, ...], Registry]:
    """The `plugins` folders of a file, absolute (they are relative to the file), and every trick."""
    paths, problems = [], []
    for index, folder in enumerate(folders):
        path = (document.path.parent / Path(folder).expanduser()).resolve()
        if not path.is_dir():
            problems.append(
                document.error(
                    f"there is no plugins folder '{folder}' ({path})",
                    ("plugins", index),
                    "a folder is named relative to this file",
                )
            )
        paths.append(str(path))
    if problems:
        raise together(problems)
    try:
        return tuple(paths), discover(paths)
    except InputError as error:
        raise document.moved(error, ("plugins",)) if error.place == "plugins" else error from None


def check_names(document: Document, data: DataSettings, net: NetSettings) -> None:
    """Raise InputError where there is no such data set or net, or where it would not use what stands beside it."""
    # Both bring torch, which a file with a plainer mistake should not have to wait for.
    from tricksearch.trial.data import check_settings
    from tricksearch.trial.training.nets import check_net

    problems: list[InputError] = []
    with collecting(problems):
        _at_its_key(document, lambda: check_settings(data))
    with collecting(problems):
        _at_its_key(document, lambda: check_net(net))
    if problems:
        raise together(problems)


def _at_its_key(document: Document, check: Callable[[], None]) -> None:
    try:
        check()
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
