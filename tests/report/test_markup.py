"""No text of a user's becomes markup: a page of hostile texts has the same elements as one of harmless texts."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.believable import EVIL, findings, verdict
from tests.report.conftest import make_records, make_study
from tricksearch.records.record import Record
from tricksearch.report import page as report_page
from tricksearch.report.page import render
from tricksearch.verdicts.findings import Findings

HOSTILE = f"\" onfocus=alert(1) x='{EVIL}<!-- {{{{ 7 * 7 }}}} &lt;b&gt; \u2028 ]]>"
WORDS = {"measure", "says", "more_for", "role"}  # fields of which the package itself writes every value


class Elements(HTMLParser):
    """Every element with the names of its attributes, and the texts between the elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.comments: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def filled(value: Any, text: str) -> Any:
    """The same findings with `text` in every field that holds a text of a user's or of a trick's."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.name not in {*WORDS, "comparison"}]
        return dataclasses.replace(value, **{name: filled(getattr(value, name), text) for name in names})
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(filled(part, text) for part in value)
    return value


def hostile_findings(text: str) -> Findings:
    whole = filled(findings(simulated=True), text)
    recipe = {**findings().minimal.recipe, "tricks": {text: {text: text}}}
    return dataclasses.replace(
        whole,
        verdicts=(*whole.verdicts, verdict(text, comparison=text, why=text)),
        minimal=dataclasses.replace(whole.minimal, recipe=recipe, holds=False),
    )


def hostile_records(text: str) -> list[Record]:
    records = make_records(6)
    recipe = {**records[3].recipe, "tricks": {text: {text: text}}}
    records[3] = dataclasses.replace(records[3], recipe=recipe, recipe_key="")
    records[4] = dataclasses.replace(records[4], status=text, reason=text, started=text, hardware={text: text})
    return records


def page_with(text: str) -> str:
    study = make_study(
        name=text, hardware={text: text, "cpu": text, "gpus": [text]}, latency={"batch": text, "threads": text},
        tricks={text: text}, versions={text: text},
        constraints=["file_bytes <= 1e9"],
    )  # fmt: skip
    return render(hostile_records(text), study, hostile_findings(text))


def test_hostile_texts_add_no_element_and_no_attribute() -> None:
    harmless, hostile = Elements(page_with("a")), Elements(page_with(HOSTILE))
    assert len(harmless.elements) > 300
    assert {"ladder", "digest"} <= set(re.findall(r'class="(\w+)"', page_with("a")))
    assert hostile.elements == harmless.elements
    assert hostile.comments == harmless.comments == []
    shown = "".join(hostile.texts)
    assert shown.count(HOSTILE) > 60  # whole, as text


def test_only_scripts_style_and_json_are_put_in_without_escaping() -> None:
    names = report_page._TEMPLATES.list_templates()
    assert {"page.html", "verdicts.html"} <= set(names)
    sources = {name: report_page._TEMPLATES.loader.get_source(report_page._TEMPLATES, name)[0] for name in names}
    safe = [match for text in sources.values() for match in re.findall(r"\{\{ (\w+) \| safe \}\}", text)]
    assert sorted(safe) == ["css", "data", "forest_data", "script"]
    assert sum(text.count("safe") for text in sources.values()) == len(safe)
    assert not any("autoescape" in text for text in sources.values())


def test_the_policy_names_the_scripts_of_the_page() -> None:
    page = render(make_records(3), make_study())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1)
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert len(scripts) == 3
    assert re.findall(r"sha256-([^&]+)&#39;", policy) == hashes


@pytest.mark.parametrize("attribute", ["src", "href"])
def test_the_page_is_one_file(attribute: str) -> None:
    links: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            links.extend(value or "" for name, value in attrs if name == attribute)

    Links().feed(render(make_records(3), make_study(), findings()))
    assert links == (["data:,"] if attribute == "href" else [])
