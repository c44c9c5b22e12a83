"""What of the engine a stage runs: a hash of that code, and the installed packages that it imports.

Both follow from the imports of the modules that run the stage, so a module that is added is covered at once.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tricksearch.contract.code import Import, digest, imports

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).parent.parent

# The modules that run each stage; what they import belongs to it.
STAGES: Mapping[str, tuple[str, ...]] = {
    "train": ("trial.training.stage",),
    "compress": ("trial.compression",),
    "deploy": ("trial.deployment",),
    "score": (
        "trial.measuring.scores",
        "trial.measuring.runner",
        "trial.measuring.runner_process",
        "trial.measuring.arithmetic",
    ),
    "latency": (
        "trial.latencies",
        "trial.measuring.latency",
        "trial.measuring.runner_process",
        "trial.measuring.machine_lock",
    ),
    "baseline": ("trial.baseline",),
}
# What the exporters of torch import, which no module here does.
_OF_TORCH: Mapping[str, tuple[str, ...]] = dict.fromkeys(("compress", "baseline"), ("onnx", "onnxscript", "onnx_ir"))

_ONLY_LOOK = frozenset({"psutil"})  # packages that tell of the machine, and compute nothing of a result

# Modules, and all below them, that stages import or run and that change no result of theirs.
BYSTANDERS: Mapping[str, str] = {
    "contract.card": "reads docstrings",
    "contract.code": "makes keys",
    "contract.discovery": "finds tricks, whose own sources stand in the keys",
    "contract.domains": "checks values, which stand in the keys",
    "contract.errors": "words",
    "records": "what is asked for, whose values stand in the keys, and what came of it",
    "trial.baseline": "makes the plain net's file, which other stages look up",
    "trial.cache": "keeps results",
    "trial.context": "holds what stages share",
    "trial.engine_code": "makes keys",
    "trial.faults": "reads errors",
    "trial.foresee": "asks for the same stages, of a net that was not trained",
    "trial.keys": "makes keys",
    "trial.measuring.machine_lock": "waits; but for a latency, which needs the machine alone",
    "trial.net_stages": "looks up, and calls the modules above",
    "trial.rungs": "tells how far a training has come",
    "trial.run": "calls the stages",
    "trial.stages": "looks up, and calls the modules above",
}


@dataclass(frozen=True)
class Code:
    """Code that runs: modules of this package, by their names in it, and top-level names of others."""

    modules: tuple[str, ...]
    packages: tuple[str, ...]


def code_of(stage: str) -> Code:
    """What a stage runs of the engine, and the packages that it imports."""
    own = _closure(STAGES[stage], ROOT)
    return Code(own.modules, tuple(sorted({*own.packages, *_OF_TORCH.get(stage, ())})))


def engine_hash(stage: str) -> str:
    """A hash of the engine's code that a stage runs, which can change its result as well as a trick's can."""
    return _hash(code_of(stage).modules, ROOT)


def imported_by(text: str) -> tuple[str, tuple[str, ...]]:
    """Of a trick's text: a hash of the engine's code that it imports, and the top-level names of other packages."""
    below = _below(text, ROOT)
    return _hash(below.modules, ROOT), below.packages


@functools.cache
def _below(text: str, root: Path) -> Code:
    own, packages = _split(imports(ast.parse(text)), "", root)
    below = _closure(tuple(sorted(name for name in own if not _stands_by(name))), root)
    return Code(below.modules, tuple(sorted({*packages, *below.packages})))


@functools.cache
def _closure(starts: tuple[str, ...], root: Path) -> Code:
    """These modules and all that they import, directly or not; without the bystanders, unless one is a start."""
    waiting = list(starts)
    modules: set[str] = set()
    packages: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in modules:
            continue
        modules.add(name)
        own, others = _split(imports(_tree(name, root)), name, root)
        packages |= others
        waiting += [module_name for module_name in own if not _stands_by(module_name)]
    return Code(tuple(sorted(modules)), tuple(sorted(packages)))


def _split(given: Iterable[Import], module: str, root: Path) -> tuple[set[str], set[str]]:
    """The modules of this package, and the top-level names of others, that these imports of a module name."""
    own: set[str] = set()
    others: set[str] = set()
    for item in given:
        top, _, rest = item.module.partition(".")
        if item.level:
            if module:  # a trick's own package is no part of this one
                own |= _defining(_absolute(item, module, root), item.name, root)
        elif top == PACKAGE:
            own |= _defining(rest, item.name, root)
        elif top not in sys.stdlib_module_names | _ONLY_LOOK:
            others.add(top)
    return own, others


def _defining(module: str, name: str | None, root: Path) -> set[str]:
    """The modules that an import reaches: where a package hands a name on, the module that defines it."""
    if name is None:
        return {module}
    inside = f"{module}.{name}".lstrip(".")
    if _file(inside, root) is not None:
        return {inside}
    if _is_package(module, root):
        for imported in imports(_tree(module, root)):
            if imported.name == name and imported.module.partition(".")[0] == PACKAGE:
                return _defining(imported.module.partition(".")[2], name, root)
    return {module}


def _absolute(imported: Import, module: str, root: Path) -> str:
    parts = module.split(".")
    up = imported.level - 1 if _is_package(module, root) else imported.level
    return ".".join([*parts[: len(parts) - up], *filter(None, [imported.module])])


@functools.cache
def _hash(modules: tuple[str, ...], root: Path) -> str:
    """A hash of the modules' code, and of what runs when the packages that hold them are imported."""
    names = set(modules)
    names |= {".".join(name.split(".")[:count]) for name in names for count in range(len(name.split(".")))}
    content = hashlib.sha256()
    for name in sorted(names):
        nodes: list[ast.AST] = [_tree(name, root)]
        if _is_package(name, root):
            nodes = list(_beside_names(_tree(name, root)))
            if digest(nodes) == digest([]):
                continue  # it only hands names on
        content.update(f"{name}\0{digest(nodes)}\0".encode())
    return content.hexdigest()[:16]


def _beside_names(package: ast.Module) -> Iterator[ast.AST]:
    """What a package does beside handing names on."""
    for node in package.body:
        dunder = isinstance(node, ast.Assign) and all(
            isinstance(target, ast.Name) and target.id.startswith("__") for target in node.targets
        )
        if not dunder and not isinstance(node, ast.Import | ast.ImportFrom):
            yield ast.Module([node], [])


def _stands_by(module: str) -> bool:
    parts = module.split(".")
    return any(".".join(parts[:count]) in BYSTANDERS for count in range(1, len(parts) + 1))


def _file(module: str, root: Path) -> Path | None:
    path = root.joinpath(*module.split(".")) if module else root
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file() and file != root.with_suffix(".py"):
            return file
    return None


def _is_package(module: str, root: Path) -> bool:
    file = _file(module, root)
    return file is not None and file.name == "__init__.py"


@functools.cache
def _tree(module: str, root: Path) -> ast.Module:
    file = _file(module, root)
    if file is None:
        raise ImportError(f"there is no module {PACKAGE}.{module} in {root}")
    return ast.parse(file.read_bytes())
