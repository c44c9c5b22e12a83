"""The last words of a command, for a person: paragraphs on the error output."""

from __future__ import annotations

import os
import textwrap
import traceback
from collections.abc import Sequence
from typing import Any

WIDTH = 100


def say(out: Any, text: str, code: int, debug: bool, items: Sequence[str] = ()) -> int:
    """Print a paragraph, and one for each of the items; with `debug` the traceback before it. Returns the code."""
    if debug:
        traceback.print_exc(file=out)
    width = min(WIDTH, os.get_terminal_size(out.fileno()).columns if out.isatty() else WIDTH)
    for paragraph, below in ((text, ""), *((item, "  ") for item in items)):
        line = " ".join(paragraph.split())
        wrapped = textwrap.wrap(line, width, subsequent_indent=below, break_long_words=False, break_on_hyphens=False)
        print("\n".join(wrapped), file=out)
    return code
