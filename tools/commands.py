"""The command line, from the signatures that typer reads."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from typer.models import ArgumentInfo

from tools.markdown import table
from tricksearch.cli.app import app

KINDS = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def reference() -> str:
    """A section for each command: what it does, how it is called, its arguments and options."""
    return "\n\n".join(_section(command.callback) for command in app.registered_commands if command.callback)


def options(callback: Callable[..., Any]) -> dict[str, Any]:
    """The parameters of a command as they are written on the command line, each with what typer was told of it."""
    hints = typing.get_type_hints(callback, include_extras=True)
    parameters = {}
    for name in inspect.signature(callback).parameters:
        kind, info = typing.get_args(hints[name])[:2]
        written = info.metavar or name.upper() if isinstance(info, ArgumentInfo) else _option(name, kind, info)
        parameters[str(written)] = info
    return parameters


def _option(name: str, kind: Any, info: Any) -> str:
    flag = next((name for name in info.param_decls or () if name.startswith("--")), f"--{name.replace('_', '-')}")
    options = next((typing.get_args(part) for part in typing.get_args(kind) if typing.get_origin(part) is Literal), ())
    if options:
        return f"{flag} {'/'.join(options)}"
    plain = next((part for part in (*typing.get_args(kind), kind) if part in (*KINDS, bool)), str)
    many = typing.get_origin(plain) or kind
    if plain is bool:
        return flag
    inner = [part for outer in typing.get_args(many) for part in (typing.get_args(outer) or (outer,)) if part in KINDS]
    return f"{flag} {info.metavar or KINDS.get(plain if plain is not str else (inner or [str])[0], 'TEXT')}"


def _section(callback: Callable[..., Any]) -> str:
    known = options(callback)
    defaults = {name: parameter.default for name, parameter in inspect.signature(callback).parameters.items()}
    arguments = [written for written, info in known.items() if isinstance(info, ArgumentInfo)]
    called = ["tricksearch", callback.__name__, *arguments, *(["[OPTIONS]"] * (len(arguments) < len(known)))]
    rows = [
        (f"`{written}`", re.sub(r"\[bold\](.*?)\[/\]", r"**\1**", info.help or ""), _default(info, default))
        for (written, info), default in zip(known.items(), defaults.values(), strict=True)
    ]
    text = f"### {callback.__name__}\n\n{inspect.getdoc(callback)}\n\n```text\n{' '.join(called)}\n```"
    return f"{text}\n\n{table(('argument', 'what it is', 'default; bounds'), rows)}" if rows else text


def _default(info: Any, default: Any) -> str:
    if isinstance(info.show_default, str):
        shown = f"`{info.show_default}`" if "/" in info.show_default else info.show_default
    elif default is inspect.Parameter.empty:
        shown = "required"
    else:
        shown = "" if default in (None, False) else f"`{default}`"
    least, most = info.min, info.max
    bounds = "" if least is None else f"at least {least:,}" if most is None else f"{least:,} to {most:,}"
    return "; ".join(text for text in (shown, bounds) if text)
