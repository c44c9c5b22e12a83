"""The documents: their examples run, their links lead somewhere, and no command, hook or file is left out."""

import doctest
import inspect
import re
from pathlib import Path

import pytest
import yaml

import tricksearch
from tricksearch.cli.app import app
from tricksearch.contract import STAGE_OF_HOOK, discover
from tricksearch.search.study import load_study
from tricksearch.trial.document import load_recipe
from tricksearch.trial.record import MEASURES
from tricksearch.trial.run import run_trial

ENGINE = Path(tricksearch.__file__).parent
ROOT = ENGINE.parent
DOCUMENTS = {name: (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md", "docs/architecture.md")}


def blocks(name: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", DOCUMENTS[name], flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def written(tmp_path):
    """Write a document's trick to a folder of plugins; returns its name."""

    def write(document: str) -> str:
        text = next(block for block in blocks(document, "python") if "(Trick)" in block)
        name = "example_of_" + re.search(r"class (\w+)", text)[1].lower()
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / f"{name}.py").write_text(text)
        return name

    return write


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_the_example_of_a_trick_trains(document, written, tmp_path):
    name = written(document)
    trick = discover([tmp_path / "own"])[name]
    failed, _ = doctest.testmod(inspect.getmodule(trick))
    assert not failed
    (tmp_path / "recipe.yaml").write_text(
        f"data: {{name: digits, train_images: 100, validation_images: 50}}\nplugins: [own]\n"
        f"net: {{name: resnet_small, widths: [8]}}\ntrain: {{epochs: 1}}\ntricks: {{{name}: }}\n"
    )
    recipe, seed = load_recipe(tmp_path / "recipe.yaml")
    plain = recipe.model_copy(update={"tricks": {}})
    records = [run_trial(each, seed, cache=tmp_path, reraise=(Exception,))[0] for each in (recipe, plain)]
    assert all(record.finished for record in records)
    assert records[0].tricks.keys() == {name}


def test_the_examples_of_studies_and_recipes_are_valid(written, tmp_path):
    for document in ("README.md", "CONTRIBUTING.md"):
        for text in blocks(document, "yaml"):
            plain = text.replace("my_tricks", "own").replace("confidence_penalty", "example_of_confidencepenalty")
            if "own" in plain and not (tmp_path / "own").exists():
                written("CONTRIBUTING.md")
            (tmp_path / "file.yaml").write_text(plain)
            values = yaml.safe_load(plain)["tricks"]
            if isinstance(values, dict) and "objectives" not in plain:
                load_recipe(tmp_path / "file.yaml")
            else:
                load_study(tmp_path / "file.yaml")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_within_the_repository_lead_somewhere(name):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", DOCUMENTS[name])
    missing = [link for link in links if not (ROOT / name).parent.joinpath(link).exists()]
    assert not missing


def test_every_command_and_measure_stands_in_the_readme():
    commands = {command.callback.__name__ for command in app.registered_commands}
    assert commands
    assert commands == set(re.findall(r"^tricksearch (\w+)", DOCUMENTS["README.md"], flags=re.MULTILINE))
    assert [each for each in MEASURES if each not in DOCUMENTS["README.md"]] == []


def test_every_hook_stands_in_the_architecture_with_its_stage():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\w+) \|$", DOCUMENTS["docs/architecture.md"], flags=re.MULTILINE)
    assert dict(rows) == dict(STAGE_OF_HOOK)


def test_every_file_that_the_architecture_names_is_there():
    named = set(re.findall(r"`?((?:\w+/)+\w+\.(?:py|js|yaml))`?", DOCUMENTS["docs/architecture.md"]))
    assert len(named) > 20
    assert [each for each in sorted(named) if not (ROOT / each).exists() and not (ENGINE / each).exists()] == []
