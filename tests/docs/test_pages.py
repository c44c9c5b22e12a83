"""The documentation: links lead somewhere, and every path, module, command and option that is named exists."""

import importlib
import re
import tomllib

import pytest

from tests.docs.pages import ENGINE, PAGES, ROOT, blocks, code, spans
from tools import commands
from tricksearch.cli.app import app
from tricksearch.contract.discovery import ENTRY_POINTS, discover
from tricksearch.records.measures import MEASURES

COMMANDS = {command.callback.__name__: commands.options(command.callback) for command in app.registered_commands}
GLOBAL = {"--help", "--debug", "--version"}
INSIDE = {file.name for file in ENGINE.iterdir()}
OURS = INSIDE | {"benchmarks", "docs", "plugins", "studies", "tests", "tools", "tricksearch", ".github"}
PATH = re.compile(r"(?<![\w./<-])(?:[\w.-]+/)+[\w.-]*")
MODULE = re.compile(r"\btricksearch(?:\.\w+)+")


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as Markdown makes them."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGES[page]):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_is_named_is_there(page):
    named = {path for line in code(page) for path in PATH.findall(line) if path.split("/")[0] in OURS}
    missing = [path for path in named if not (ROOT / path).exists() and not (ENGINE / path).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_module_and_name_that_is_named_is_there(page):
    for dotted in set(MODULE.findall(PAGES[page])) - {ENTRY_POINTS}:
        parts, holder = dotted.split(".")[1:], importlib.import_module("tricksearch")
        if (ROOT / dotted).exists() or parts[-1] in ("md", "yaml"):
            continue
        for at, part in enumerate(parts, 2):
            if not hasattr(holder, part):
                importlib.import_module(".".join(dotted.split(".")[:at]))
            holder = getattr(holder, part)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_that_is_named_is_one(page):
    for line in code(page):
        for name, rest in re.findall(r"(?:^|[ /'])tricksearch ([\w-]+)([^#'|]*)", line):
            if name in ("COMMAND", *GLOBAL):
                continue
            assert name in COMMANDS, line
            known = {option.split()[0] for option in COMMANDS[name]} | GLOBAL
            assert set(re.findall(r"--[\w-]+", rest)) <= known, line


def test_every_option_that_stands_alone_is_one():
    known = {option.split()[0] for options in COMMANDS.values() for option in options} | GLOBAL
    alone = {span.split()[0].split("=")[0] for page in PAGES for span in spans(page) if span.startswith("--")}
    assert len(alone) > 5
    assert alone <= known


def test_every_target_of_make_that_is_named_is_one():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {name for page in PAGES for line in code(page) for name in re.findall(r"\bmake ([a-z]+)", line)}
    assert "docs" in named
    assert named <= targets


def test_every_extra_that_is_named_is_one():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {name for page in PAGES for line in code(page) for name in re.findall(r"\[([\w-]+)\]'", line)}
    assert "openvino" in named
    assert named <= set(extras)


def test_every_page_is_in_the_navigation_of_the_site():
    site = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    listed = [page for group in site["nav"] for pages in group.values() for entry in pages for page in entry.values()]
    assert sorted(f"docs/{page}" for page in listed) == sorted(page for page in PAGES if page.startswith("docs/"))
    assert site["theme"]["font"] is False


def test_what_the_failures_page_quotes_is_what_the_code_says():
    sources = "".join(file.read_text() for file in ENGINE.rglob("*.py"))
    quoted = [block.strip() for block in blocks("docs/faq.md", "text")]
    assert len(quoted) > 10
    # The parts of an f-string: what stands between two values, or before the first.
    assert [text for text in quoted if re.sub(r"\b3 splits", "{parts} splits", text) not in sources] == []


def test_the_readme_is_short_and_counts_what_is_there():
    text = PAGES["README.md"]
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1500
    count = int(re.search(r"lists the (\d+) that are built in", text)[1])
    assert count == sum(trick.__module__.startswith("tricksearch_plugins.") for trick in discover().values())


def test_every_measure_stands_on_its_page():
    assert [name for name in MEASURES if f"| `{name}` |" not in PAGES["docs/measuring.md"]] == []
