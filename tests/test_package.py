"""The wheel: every file of the package and every trick is in it, and nothing of the repository beside."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA = {".html", ".css", ".js", ".j2", ".md", ".typed"}  # what the package reads beside its modules


def test_the_wheel_holds_every_file(tmp_path):
    subprocess.run(
        [
            *(sys.executable, "setup.py", "-q"),
            *("egg_info", "--egg-base", tmp_path),
            *("build", "--build-base", tmp_path / "build"),
            *("bdist_wheel", "--dist-dir", tmp_path, "--bdist-dir", tmp_path / "files"),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("tricksearch-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tricksearch").rglob("*")
        if path.suffix in {".py", *DATA} and "__pycache__" not in path.parts
    }
    tricks = {f"tricksearch_plugins/{path.name}" for path in (ROOT / "plugins").glob("*.py")}
    assert any(name.endswith(".html") for name in package)
    assert names == package | tricks


def test_every_folder_of_modules_is_a_package():
    folders = {path.parent for path in (ROOT / "tricksearch").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
