"""Look at files before they are committed: `python tools/hygiene.py FILE ...` names what is wrong and exits with 1."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

LARGEST = 2 * 2**20  # bytes
MERGE = re.compile(r"^(<{7} |={7}$|>{7} )", re.MULTILINE)


def problems(path: Path) -> Iterator[str]:
    """What is wrong with a file, in words."""
    content = path.read_bytes()
    if len(content) > LARGEST:
        yield f"it has more than {LARGEST // 2**20} MiB"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return  # a picture, for example
    if "\r" in text:
        yield "a line ends with a carriage return"
    if text and not text.endswith("\n"):
        yield "the last line has no end"
    if text.endswith("\n\n"):
        yield "it ends with an empty line"
    for number, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip():
            yield f"line {number} ends with a space"
    if MERGE.search(text):
        yield "it holds the marks of a merge"
    try:
        if path.suffix in (".yaml", ".yml", ".cff"):
            list(yaml.safe_load_all(text))
        elif path.suffix == ".toml":
            tomllib.loads(text)
    except (yaml.YAMLError, ValueError) as error:
        yield f"it cannot be read: {error}"


def main(arguments: list[str]) -> int:
    """Print the problems of these files; returns the exit code."""
    lines = [f"{name}: {problem}" for name in arguments if Path(name).is_file() for problem in problems(Path(name))]
    print("\n".join(lines), end="\n" if lines else "")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
