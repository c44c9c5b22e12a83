"""The pages of the documentation, and the parts of them that tests look at."""

import re
from collections.abc import Iterator
from pathlib import Path

import tricksearch

ENGINE = Path(tricksearch.__file__).parent
ROOT = ENGINE.parent
FILES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
PAGES = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in FILES}
FENCE = re.compile(r"^(?P<mark><!-- run -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, *kinds: str, marked: bool = False) -> list[str]:
    """The texts of a page's fenced blocks of these kinds; only those behind `<!-- run -->` where `marked`."""
    fences = FENCE.finditer(PAGES[page])
    return [fence["text"] for fence in fences if fence["kind"] in kinds and (fence["mark"] or not marked)]


def spans(page: str) -> list[str]:
    """What stands as code within a page's sentences and tables."""
    return [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", FENCE.sub("", PAGES[page]))]


def code(page: str) -> Iterator[str]:
    """Every line of code: of blocks in shell or plain text, and within sentences."""
    for block in blocks(page, "bash", "text", ""):
        yield from block.splitlines()
    yield from spans(page)


def named_files(page: str) -> dict[str, str]:
    """The YAML blocks that begin with their own name, `# small.yaml`, by that name."""
    named = (re.match(r"# ([\w-]+\.yaml)\n", block) for block in blocks(page, "yaml"))
    return {match[1]: match.string for match in named if match}


def trick_of(page: str) -> str:
    """The block of a page that defines a trick."""
    return next(block for block in blocks(page, "python") if "(Trick)" in block)
