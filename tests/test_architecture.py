"""What import-linter does not say: no trick is named in the engine, and a command starts without heavy libraries."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tricksearch_plugins

import tricksearch

ENGINE = Path(tricksearch.__file__).parent
PLUGINS = sorted(Path(tricksearch_plugins.__file__).parent.glob("[!_]*.py"))
SOURCES = sorted(file for ending in ("py", "html", "js", "css", "md") for file in ENGINE.rglob(f"*.{ending}"))


def test_the_engine_names_no_trick():
    assert len(PLUGINS) >= 10
    assert {file.suffix for file in SOURCES} == {".py", ".html", ".js", ".css", ".md"}
    stems = "|".join(file.stem for file in PLUGINS)
    # A hyphen belongs to the word: torch-pruning is a package, and not a trick.
    word = re.compile(rf"(?<![\w-])({stems})(?![\w-])", re.IGNORECASE)
    named = [
        f"{file.relative_to(ENGINE)}:{number}: {line.strip()}"
        for file in SOURCES
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if word.search(line)
    ]
    assert not named


@pytest.mark.parametrize("file", PLUGINS, ids=lambda file: file.stem)
def test_a_plugin_imports_no_other(file):
    modules: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import reaches for another plugin"
            modules.append(node.module or "")
    assert "tricksearch" in modules
    ours = {module for module in modules if module.split(".")[0] in {"tricksearch", "tricksearch_plugins", "plugins"}}
    toolkit = {module for module in ours if module.startswith("tricksearch.toolkit.")}
    assert ours - toolkit == {"tricksearch"}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("tricksearch", {"torch", "timm", "ray", "optuna", "pandas", "numpy"}),
        ("tricksearch.cli.app", {"torch", "timm", "ray", "optuna", "pandas", "plotly", "sklearn", "onnxruntime"}),
        ("tricksearch.report.page", {"torch", "timm", "ray", "optuna"}),
        ("tricksearch.records.pareto", {"torch", "timm", "ray", "optuna"}),
        ("tricksearch.contract", {"torch", "timm", "ray", "optuna", "numpy"}),
        ("tricksearch.trial.run", {"ray", "optuna", "timm", "plotly", "pandas"}),
        ("tricksearch.store.run", {"torch", "timm", "ray", "optuna", "pandas"}),
        ("tricksearch.ship.export", {"timm", "ray", "optuna", "pandas", "plotly"}),
        ("tricksearch.ship.verify", {"timm", "ray", "optuna", "pandas", "plotly"}),
        ("tricksearch.api", {"torch", "timm", "ray", "optuna", "pandas", "plotly"}),
    ],
)
def test_a_module_comes_without_heavy_libraries(module, heavy):
    show = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "tricksearch" in loaded
    assert not loaded & heavy
