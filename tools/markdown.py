"""Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar inside a cell is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |" for cells in lines)


def code(value: Any) -> str:
    """A value as a YAML file would hold it, as code.

    >>> code(None), code("auto"), code((0.5, 0.75)), code(True)
    ('`null`', '`auto`', '`[0.5, 0.75]`', '`true`')
    """
    if isinstance(value, str):
        return f"`{value}`"
    text = json.dumps(list(value) if isinstance(value, tuple) else value)
    return f"`{text.replace(chr(34), '')}`"
