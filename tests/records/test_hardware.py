"""What tells one machine from another."""

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tricksearch.records.hardware import cpu_features, running, same_machine, versions, versions_of

X86 = "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu sse2 avx2\nvmx flags\t: vnmi\nbugs\t\t: spectre_v1\n"
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\n"


@pytest.fixture
def features(monkeypatch):
    def of(cpuinfo: str) -> str:
        monkeypatch.setattr(Path, "read_text", lambda path: cpuinfo)
        return cpu_features.__wrapped__()

    return of


def test_instruction_sets_tell_processors_apart(features):
    for text, other in ((X86, "avx2"), (ARM, "sve")):
        assert features(text) == features(text.replace("processor\t: 0", "processor\t: 1"))
        assert features(text) != features(text.replace(f" {other}", ""))
    assert features(X86) == features(X86.replace("fpu sse2", "sse2 fpu")) != features(ARM)
    assert features(X86) == features(X86.replace("spectre_v1", "none"))
    assert "fpu" not in features("no such line") != ""


def test_a_worker_that_sees_fewer_gpus_is_on_the_same_machine():
    whole = {"cpu": "EPYC", "cores": 8, "memory_gib": 64.0, "gpus": ["A100", "A100"], "system": "Linux x86_64"}
    one, none = whole | {"gpus": ["A100"]}, whole | {"gpus": []}
    for device in ("cpu", "cuda"):
        assert same_machine(whole, one, device)
        assert not same_machine(whole, one | {"cores": 4}, device)
        assert not same_machine(whole, one | {"cpu": "Xeon"}, device)
    assert same_machine(whole, none, "cpu"), "a worker of the processor sees no GPU"
    assert not same_machine(whole, none, "cuda")
    assert not same_machine(whole, whole | {"gpus": ["T4", "A100"]}, "cuda"), "it runs on the first"
    assert not same_machine(whole, {}, "cpu")


@pytest.fixture
def another_typer(tmp_path, monkeypatch):
    """A folder `typer` that stands before the installed one; what was looked up is forgotten before and after."""
    (tmp_path / "typer").mkdir()
    (tmp_path / "typer" / "__init__.py").write_text("")
    running.cache_clear()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "typer", raising=False)
    yield tmp_path
    running.cache_clear()


def test_the_version_that_is_recorded_is_the_one_that_runs(another_typer):
    installed = version("typer")
    text = f"unknown: typer is imported from {another_typer / 'typer'}, and not {installed}, which is installed"
    assert running("typer") == text
    assert versions_of(["typer"])["typer"] == text
    assert running("numpy") == version("numpy")


def test_every_version_here_is_that_of_the_installed_package():
    running.cache_clear()
    for package, recorded in versions().items():
        assert "unknown" not in recorded, package
