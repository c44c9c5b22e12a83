"""Write the parts of the documentation that follow from the code: `python tools/generate_docs.py`, or `--check`.

A page has such a part between two comments, `<!-- generated: NAME -->` and `<!-- end -->`; NAME is one of PARTS.
`make docs` writes them, and a test fails where one of them is not what the code says.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the script's own folder is there by itself

from tools import commands, layout, run_files, settings, tricks

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PART = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

PARTS: Mapping[str, Callable[[], str]] = {
    "settings": settings.study_keys,
    "recipe": settings.recipe_keys,
    "measures": run_files.measures,
    "records": run_files.record_columns,
    "verdicts": run_files.verdict_columns,
    "comparisons": run_files.comparisons,
    "commands": commands.reference,
    "tricks": tricks.catalogue,
    "hooks": tricks.hook_table,
    "claims": tricks.claims,
    "layers": layout.layers,
    "modules": layout.modules,
}


def written(text: str) -> str:
    """A page with its generated parts as the code has them now. Raises KeyError for a part that nobody makes."""

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}\n{PARTS[match['name']]().strip()}\n\n{match[3]}"

    return PART.sub(part, text)


def stale(pages: Mapping[Path, str]) -> dict[Path, str]:
    """The pages that are not as the code has them, each with what it should hold."""
    return {path: right for path, text in pages.items() if (right := written(text)) != text}


def pages() -> dict[Path, str]:
    """Every page with its text."""
    return {path: path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}


def main(arguments: list[str]) -> int:
    """Write what is stale, or with --check only name it; returns the exit code."""
    changed: dict[Path, Any] = stale(pages())
    for path, text in changed.items():
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is not as the code has it: run python tools/generate_docs.py")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if changed and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
