"""What open projects have: changelog, citation, workflow, templates, hooks before a commit."""

import re
import shlex
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

import tricksearch
from tests.docs.pages import ROOT
from tools import hygiene


def test_the_changelog_has_unreleased_changes_above_the_release_that_is_cited():
    text = (ROOT / "CHANGELOG.md").read_text()
    heads = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    version, day = re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", heads[1]).groups()
    assert version == tricksearch.__version__
    kinds = set(re.findall(r"^### (.+)$", text, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert (citation["version"], citation["date-released"]) == (version, date.fromisoformat(day))


def test_the_workflow_may_only_read_and_runs_the_tests():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert {"make test", "make docs"} <= {step.get("run") for step in steps}
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used)


@pytest.mark.parametrize("name", ["bug.yml", "trick.yml"])
def test_a_template_for_issues_asks_for_something(name):
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text())
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 2
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_hooks_before_a_commit_call_what_is_installed_here():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [source["repo"] for source in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        program, *arguments = shlex.split(hook["entry"])
        assert Path(program).parent == Path(".venv/bin")
        assert (Path(sys.executable).parent / Path(program).name).exists()
        assert [name for name in arguments if name.endswith(".py") and not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.py", b"x = 1", "the last line has no end"),
        ("a.py", b"x = 1\n\n", "it ends with an empty line"),
        ("a.py", b"x = 1 \n", "line 1 ends with a space"),
        ("a.py", b"x = 1\r\n", "a line ends with a carriage return"),
        ("a.md", b"<<<<<<< ours\n", "it holds the marks of a merge"),
        ("a.yaml", b"a: [1\n", "it cannot be read"),
        ("a.toml", b"a = \n", "it cannot be read"),
        ("a.bin", b"\xff" * (hygiene.LARGEST + 1), "it has more than 2 MiB"),
    ],
)
def test_what_is_untidy_is_named(tmp_path, name, content, problem):
    (tmp_path / name).write_bytes(content)
    assert any(problem in line for line in hygiene.problems(tmp_path / name))


def test_a_tidy_file_passes(tmp_path, capsys):
    (tmp_path / "a.yaml").write_bytes(b"a: 1\n")
    assert hygiene.main([str(tmp_path / "a.yaml")]) == 0
    assert capsys.readouterr().out == ""
