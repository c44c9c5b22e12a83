"""What the documentation says of keys, commands, columns, tricks and modules is what the code says."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.docs.pages import ENGINE, PAGES, ROOT
from tools import generate_docs, settings
from tricksearch.contract.discovery import BUILT_IN, discover
from tricksearch.study.study import Study


def test_every_generated_part_is_as_the_code_has_it():
    stale = [path.name for path in generate_docs.stale(generate_docs.pages())]
    assert not stale, f"{', '.join(stale)}: run .venv/bin/python tools/generate_docs.py"


def test_every_part_that_can_be_generated_stands_on_a_page():
    text = "".join(PAGES.values())
    assert [name for name in generate_docs.PARTS if f"<!-- generated: {name} -->" not in text] == []


def test_a_part_that_is_not_as_the_code_has_it_is_written_and_the_rest_is_kept():
    page = "before\n<!-- generated: recipe -->\nSTALE\n<!-- end -->\nafter\n"
    right = generate_docs.written(page)
    assert right.startswith("before\n")
    assert right.endswith("<!-- end -->\nafter\n")
    assert "| `seed` |" in right
    assert "STALE" not in right
    assert generate_docs.stale({Path("page.md"): page}) == {Path("page.md"): right}
    assert generate_docs.stale({Path("page.md"): right}) == {}


def models_below(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The settings of a study that are models of their own, at any depth; not those of a trick, which are its own."""
    models: set[type[BaseModel]] = set()
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if name != "tricks" and isinstance(kind, type) and issubclass(kind, BaseModel):
                models |= {kind} | models_below(kind)
    return models


def test_every_model_of_a_study_has_its_section_and_every_key_a_description():
    listed = {model for _, model, _ in settings.SECTIONS}
    assert models_below(Study) <= listed
    for name, model in (("", Study), *((name, model) for name, model, _ in settings.SECTIONS)):
        for key, field in model.model_fields.items():
            inner = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            assert field.description or inner or key in settings.LEFT_OUT, f"{name}.{key}"


@pytest.mark.parametrize("name", [name for name, trick in discover().items() if trick.__module__.startswith(BUILT_IN)])
def test_every_trick_stands_in_the_catalogue(name):
    assert f"\n### {name}\n" in PAGES["docs/tricks.md"]


def test_every_module_stands_in_the_architecture():
    missing = [
        file.relative_to(ROOT).as_posix()
        for file in ENGINE.rglob("*.py")
        if file.name != "__init__.py" and f"| `{file.name}` |" not in PAGES["docs/architecture.md"]
    ]
    assert not missing
