"""YAML documents whose every value knows its line, so that an error can say where it stands."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tricksearch.contract import InputError, nearest

Key = tuple[str | int, ...]

MOST_VALUES = 100_000  # far above any real file; aliases of aliases can ask for billions
MOST_DIGITS = 300  # beyond the range of a float; Python refuses to print a number of some thousands


def shown(value: Any) -> str:
    """A value as the file would write it, short enough for an error."""
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, str) else f"'{value}'"
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Document:
    """A YAML file: its data, and the line (from 1) of every key path, such as ("train", "epochs")."""

    path: Path
    data: dict[str, Any]
    lines: Mapping[Key, int]

    def place(self, key: Key) -> str:
        """Where a key stands, as errors print it: "study.yaml, line 3, key train.epochs"."""
        name = ".".join(part for part in key if isinstance(part, str))
        return f"{self.path}, line {self.line(key)}" + (f", key {name}" if name else "")

    def line(self, key: Key) -> int:
        """The line of a key; where the file does not write it, that of what it would stand in."""
        while key not in self.lines:
            key = key[:-1]
        return self.lines[key]

    def at(self, key: Key) -> Any:
        """The value of a key, or None where there is none."""
        value: Any = self.data
        for part in key:
            if isinstance(value, Mapping):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def error(self, rule: str, key: Key, remedy: str = "") -> InputError:
        """The error to raise for the value of a key."""
        return InputError(rule, place=self.place(key), remedy=remedy)

    def by_line(self, problems: Iterable[InputError]) -> list[InputError]:
        """The problems in the order of their lines; those that stand elsewhere come last."""

        def line(problem: InputError) -> float:
            found = re.match(rf"{re.escape(str(self.path))}, line (\d+)", problem.place)
            return int(found[1]) if found else math.inf

        return sorted(problems, key=line)

    def moved(self, error: InputError, key: Key) -> InputError:
        """The same error, placed at a key of this document."""
        return self.error(error.rule, key, error.remedy)


class _Loader(yaml.SafeLoader):
    """The safe loader with the plain scalars of YAML 1.2: `yes` and `on` are words, `5e-4` is a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # the type that PyYAML gives it

    def whole(self, node: yaml.ScalarNode) -> int:
        """A whole number; a leading 0 does not make it octal."""
        text = node.value.replace("_", "")
        if len(text) > MOST_DIGITS:
            raise ValueError(f"a number of over {MOST_DIGITS} digits")
        return int(text, 16) if text.startswith("0x") else int(text)


_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": ("<<", ["<"]),
}
for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), _first)
_Loader.add_constructor(_TAG + "int", _Loader.whole)


def read_yaml(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping.

    Raises InputError, with the line where there is one, for a file that cannot be read or is not UTF-8, for
    broken YAML, a key given twice, and anything that plain JSON could not hold.
    """
    text = _text(path)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise InputError(
                    "the file is empty",
                    place=str(path),
                    remedy="write at least one key, such as 'data: digits'",
                )
            reader = _Reader(loader, path)
            data = reader.read(node, (), _line(node))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(
            f"this is not valid YAML: {' '.join(part for part in (error.context, error.problem) if part)}",
            place=f"{path}, line {mark.line + 1}" if mark else str(path),
            remedy=_yaml_remedy(error),
        ) from None
    except yaml.YAMLError as error:
        raise InputError(
            f"this is not valid YAML: {' '.join(str(error).split())}",
            place=str(path),
            remedy="save the file as plain text",
        ) from None
    except RecursionError:
        raise InputError("the YAML is nested too deeply", place=str(path)) from None
    if not isinstance(data, dict):
        raise InputError(
            f"the top level must be a mapping of keys, got {shown(data)}",
            place=f"{path}, line {_line(node)}",
            remedy="write 'key: value' lines",
        )
    return Document(path, data, reader.lines)


def _text(path: Path) -> str:
    if path.is_dir():
        raise InputError("this is a folder, a YAML file is needed", place=str(path), remedy="name a file in it")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        beside = [str(file) for file in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        hint = nearest(str(path), beside) if beside else "check the path"
        raise InputError("there is no such file", place=str(path), remedy=hint) from None
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", place=str(path)) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"the file is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}",
            place=str(path),
            remedy="save it as UTF-8",
        ) from None


def _yaml_remedy(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or ""
    if "'\\t'" in problem:
        return "indent with spaces, YAML allows no tabs"
    if "mapping values are not allowed" in problem:
        return "put quotes around a value that holds ': ', and give sister keys one indentation"
    if "expected a single document" in (error.context or ""):
        return "take out the line '---' and what follows it"
    if "could not determine a constructor" in problem:
        return "take the tag (the word with '!') out"
    return "look for a missing colon, quote or bracket here or on the line before"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class _Reader:
    """Turns nodes into plain Python and notes the line of each key path."""

    def __init__(self, loader: _Loader, path: Path) -> None:
        self._loader, self._path = loader, path
        self.lines: dict[Key, int] = {}

    def read(self, node: yaml.Node, key: Key, line: int, above: tuple[int, ...] = ()) -> Any:
        """The value of a node; `above` holds the nodes that it stands in."""
        if id(node) in above or len(self.lines) > MOST_VALUES:
            rule = "an alias stands for itself" if id(node) in above else f"the file holds over {MOST_VALUES} values"
            raise self._error(rule, line, "write the values out instead of using aliases")
        above = (*above, id(node))
        self.lines[key] = line
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.read(item, (*key, index), _line(item), above) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, key, above)
        # Scalars are left; a mapping or a list with a tag of its own is refused by the constructor or below.
        try:
            value = self._loader.construct_object(node, deep=True)
        except (ValueError, LookupError, AttributeError, TypeError):  # what PyYAML raises for a tag that does not fit
            what = shown(node.value) if isinstance(node, yaml.ScalarNode) else "this list or mapping"
            kind = node.tag.removeprefix(_TAG)
            remedy = "correct or shorten it, and take its tag (the word with '!') out if it has one"
            raise self._error(f"{what} cannot be read as YAML's type '{kind}'", line, remedy) from None
        if value is not None and not isinstance(value, str | int | float):
            raise self._error(
                f"only text, numbers, true, false, lists and mappings are read, got {shown(value)}",
                line,
                "take the tag (the word with '!') out",
            )
        return value

    def _mapping(self, node: yaml.MappingNode, key: Key, above: tuple[int, ...]) -> dict[str, Any]:
        seen: dict[str, int] = {}
        for name_node, _ in node.value:
            line = _line(name_node)
            if not isinstance(name_node, yaml.ScalarNode):
                raise self._error("a key must be one word", line, "put quotes around it")
            if name_node.value in seen and name_node.tag != _TAG + "merge":
                lines = f"lines {seen[name_node.value]} and {line}"
                raise self._error(f"the key '{name_node.value}' is given twice, on {lines}", line, "keep one of them")
            seen[name_node.value] = line
        self._loader.flatten_mapping(node)
        return {name.value: self.read(value, (*key, name.value), _line(name), above) for name, value in node.value}

    def _error(self, rule: str, line: int, remedy: str) -> InputError:
        return InputError(rule, place=f"{self._path}, line {line}", remedy=remedy)
