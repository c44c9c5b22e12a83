"""The package as it is laid out: layers from import-linter's contract, modules with the first line of each."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

from tools.markdown import table

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tricksearch"


def layers() -> str:
    """The layers of the package and of its search, the highest first, with what each is."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    parts = []
    for contract in contracts:
        if contract["type"] == "layers":
            under = contract.get("containers", [""])[0]
            rows = [row for at, entry in enumerate(contract["layers"], 1) for row in _layer(at, str(entry), under)]
            parts.append(f"**{contract['name']}**\n\n{table(('layer', 'module', 'what it is'), rows)}")
    rules = [f"- {contract['name']}." for contract in contracts if contract["type"] != "layers"]
    return "\n\n".join([*parts, "Beside the layers, import-linter holds that\n\n" + "\n".join(rules)])


def _layer(at: int, entry: str, under: str) -> list[tuple[str, str, str]]:
    names = [f"{under}.{name.strip()}".strip(".") for name in entry.strip("()").split("|")]
    return [(str(at), f"`{name.rpartition('.')[2]}`", _first_line(_file(name))) for name in names]


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def modules() -> str:
    """Every module by its folder, with the first line of its docstring."""
    folders: dict[Path, list[Path]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        folders.setdefault(file.parent, []).append(file)
    parts = []
    for folder, files in sorted(folders.items()):
        name = folder.relative_to(ROOT).as_posix()
        rows = [(f"`{file.name}`", _first_line(file)) for file in files if file.name != "__init__.py"]
        about = _first_line(folder / "__init__.py")
        parts.append(f"### {name}\n\n{about}" + (f"\n\n{table(('module', 'what it is'), rows)}" if rows else ""))
    return "\n\n".join(parts)


def _first_line(file: Path) -> str:
    tree: Any = ast.parse(file.read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ").strip()
