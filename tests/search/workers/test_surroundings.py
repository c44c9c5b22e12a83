"""Workers import what the driver imports, and start where TMPDIR is long and the home folder cannot be written to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.search.runs import SIMULATED
from tricksearch.contract import InputError
from tricksearch.search.workers import surroundings
from tricksearch.search.workers.surroundings import TOKENS, DriversPath, bring_token, sockets_folder


def test_workers_get_the_folders_of_this_process_and_no_other(monkeypatch, tmp_path):
    standard = [folder for folder in sys.path if folder.startswith(sys.prefix) or folder.startswith(sys.base_prefix)]
    monkeypatch.setattr(sys, "path", ["/first", "", *standard, "/last"])
    monkeypatch.chdir(tmp_path)
    path = DriversPath()
    path.extend([str(tmp_path / "more")])
    assert path[-2:] == [str(tmp_path), "/first"]  # Ray puts each of them in front of those before it
    monkeypatch.setattr(sys, "path", standard)
    path = DriversPath()
    path.extend([str(tmp_path)])
    assert str(tmp_path) not in path


def test_a_long_folder_for_temporary_files_is_replaced_and_a_short_one_is_left(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(surroundings, "SHORT", (str(tmp_path / "absent"), str(tmp_path)))
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.setenv(name, "/tmp")
        with sockets_folder() as folder:
            assert folder is None
        monkeypatch.setenv(name, "/" + "x" * 60)
        with sockets_folder() as folder:
            assert Path(folder).parent == tmp_path
            assert Path(folder).stat().st_mode & 0o077 == 0
        assert not Path(folder).exists()


def test_where_no_folder_is_short_enough_the_error_names_tmpdir(monkeypatch, tmp_path):
    from tricksearch.search.workers.runner import _here

    monkeypatch.setenv("TMPDIR", "/" + "x" * 60)
    monkeypatch.setattr(surroundings, "SHORT", (str(tmp_path / "absent"),))
    with pytest.raises(InputError, match="at most 39 bytes") as caught, _here({}):
        pass
    assert caught.value.place == "TMPDIR"
    assert "set TMPDIR" in caught.value.remedy


def test_a_token_is_brought_only_where_ray_could_keep_none(monkeypatch, tmp_path):
    for name in TOKENS:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    bring_token()
    assert "RAY_AUTH_TOKEN" not in os.environ
    monkeypatch.setenv("HOME", str(tmp_path / "absent"))
    bring_token()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    monkeypatch.setenv("RAY_AUTH_TOKEN", "own")
    bring_token()
    assert os.environ["RAY_AUTH_TOKEN"] == "own"


def test_a_run_starts_with_a_long_tmpdir_no_home_and_another_torch_in_its_folder(tmp_path):
    (tmp_path / "torch.py").write_text("raise RuntimeError('torch.py of the working folder was imported')\n")
    study = SIMULATED | {"tricks": ["mixup"], "search": {"trials": 2, "startup": 1, "workers": 1}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    long = tmp_path / ("x" * 60)
    long.mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from tricksearch.cli import main; main()", "run", "study.yaml"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name not in TOKENS}
        | {"TMPDIR": str(long), "HOME": str(tmp_path / "absent")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "2 trials, 2 records, 0 of them without a result" in " ".join(done.stdout.split())
