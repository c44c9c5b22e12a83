"""What Ray's memory monitor kills is a lost trial, and not the end of the run."""

import os
import subprocess
import sys

import yaml

from tricksearch.store.store import Store

STUDY = {
    "trial": "simulated",
    "simulation": {"measures": {"accuracy": {"base": 90.0}}, "seconds": 5.0},
    "tricks": ["label_smoothing"],
    "search": {"trials": 2},
}


def test_a_trial_that_the_memory_monitor_kills_runs_again_alone_and_is_then_recorded(tmp_path):
    (tmp_path / "full.yaml").write_text(yaml.safe_dump(STUDY))
    # Two hundredths of the memory are always used: whatever runs is killed.
    full = {"RAY_memory_usage_threshold": "0.02", "RAY_memory_monitor_refresh_ms": "200"}
    command = [sys.executable, "-c", "from tricksearch.cli import main; main()", "run", "full.yaml", "--workers", "2"]
    environment = os.environ | full
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 1, ended.stderr
    assert "no trial finished" in ended.stderr
    store = Store.at(tmp_path / "runs" / "full" / "store.db")
    try:
        records = store.records()
    finally:
        store.close()
    assert [record.status for record in records] == ["out_of_memory"] * 2
    assert any("lost 2 times" in record.reason for record in records), "one had company at first"
