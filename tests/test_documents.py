"""The documents: their examples run, their links lead somewhere, and no command, hook or file is left out."""

import doctest
import importlib.metadata
import inspect
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import tricksearch
from tricksearch.cli.app import app
from tricksearch.contract import STAGE_OF_HOOK, discover
from tricksearch.records.measures import MEASURES
from tricksearch.search.cluster.bundle import LIMIT
from tricksearch.search.retries import RETRIES
from tricksearch.search.sigterm import GRACE, INTERRUPTED
from tricksearch.study.recipe_file import load_recipe
from tricksearch.study.study import load_study
from tricksearch.trial.job import Job
from tricksearch.trial.run import run_trial

ENGINE = Path(tricksearch.__file__).parent
ROOT = ENGINE.parent
NAMES = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/cluster.md", "docs/verdicts.md")
DOCUMENTS = {name: (ROOT / name).read_text() for name in NAMES}


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
    records = [run_trial(Job.of(each, seed, cache=tmp_path), reraise=(Exception,))[0] for each in (recipe, plain)]
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


def test_what_the_page_on_clusters_says_of_figures_and_names_is_so():
    page = DOCUMENTS["docs/cluster.md"]
    assert f"{LIMIT / 2**20:.0f} MiB each at most" in page
    assert f"get {GRACE:.0f} seconds" in page
    assert f"exit code {INTERRUPTED}" in page
    assert f"after its {('first', 'second', 'third')[RETRIES]} loss" in page
    sources = "".join(file.read_text() for file in ENGINE.rglob("*.py"))
    named = set(re.findall(r"TRICKSEARCH_\w+", page))
    assert named
    assert [each for each in named if f'"{each}"' not in sources] == []


def test_the_commands_on_the_page_on_clusters_are_commands():
    code = "\n".join(blocks("docs/cluster.md", "bash"))
    code += "".join(
        yaml.safe_load(each).get("spec", {}).get("entrypoint", "") for each in blocks("docs/cluster.md", "yaml")
    )
    ours = re.findall(r"tricksearch run ([^\n'#]+)", code)
    assert len(ours) >= 3
    runner = CliRunner()
    for arguments in ours:
        done = runner.invoke(app, ["run", *arguments.split(), "--help"])
        assert done.exit_code == 0, done.output
        known = runner.invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).output
        assert [each for each in re.findall(r"--\w+", arguments) if each not in known] == []
    ray = importlib.metadata.entry_points(group="console_scripts", name="ray")
    commands = next(iter(ray)).load().__globals__["cli"].commands
    assert set(re.findall(r"^(?:RAY_\w+=\w+ )?ray ([a-z-]+)", code, flags=re.MULTILINE)) - set(commands) == set()


def test_the_manifests_on_the_page_on_clusters_fit_together():
    launcher, job = (yaml.safe_load(each) for each in blocks("docs/cluster.md", "yaml"))
    assert launcher["head_node_type"] in launcher["available_node_types"]
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("block", blocks("docs/verdicts.md", "yaml"))
def test_what_the_page_on_verdicts_writes_into_a_study_is_read(block, tmp_path):
    (tmp_path / "shown.yaml").write_text(block)
    study = load_study(tmp_path / "shown.yaml")
    assert len(study.phases) == 4 or study.trial == "simulated"
