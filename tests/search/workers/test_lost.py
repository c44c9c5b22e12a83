"""What is lost under a run, workers and Ray's own server, costs no finished trial; a full disk ends it."""

from pathlib import Path

import psutil

from tests.search.runs import SIMULATED, STUDY, TRIALS, Run, rows

WORKER_KILLER = '''"""killer: kill the process that trains.

Paper: none
Use when: testing.
Avoid when: not testing.
Cost: everything.
"""
import os, signal
from dataclasses import dataclass
from tricksearch import Trick


@dataclass(frozen=True)
class Killer(Trick):
    """Kills its own process."""

    def loss(self, loss, bench):
        os.kill(os.getpid(), signal.SIGKILL)
        return loss
'''


def test_a_trial_that_kills_its_worker_is_tried_again_and_then_recorded(tmp_path, make_study):
    (tmp_path / "own_tricks" / "killer.py").write_text(WORKER_KILLER)
    make_study(**STUDY | {"tricks": ["killer"], "search": {"trials": 5, "workers": 1}})
    run = Run(tmp_path, tmp_path / "study.yaml")
    code, out, err = run.end()
    assert (code, err) == (0, "")
    recorded = rows(run.store)
    assert len(recorded) == 2  # the space has two recipes: with the trick and without
    assert "lost 3 times: (1) the worker was lost" in recorded[1][2]
    assert "died" in recorded[1][2]  # Ray's own words
    assert "failed" in out


def test_the_death_of_ray_s_own_server_ends_the_run_and_no_trial_is_blamed(tmp_path, make_study):
    trials = 20 * TRIALS  # workers outlive it for some seconds, and may not come to the end of the study
    make_study(**SIMULATED | {"search": SIMULATED["search"] | {"trials": trials}})
    run = Run(tmp_path, tmp_path / "study.yaml")
    run.wait_for(1)
    family = psutil.Process(run.process.pid).children(recursive=True)
    (raylet,) = [process for process in family if Path(process.cmdline()[0]).name == "raylet"]
    raylet.kill()
    code, _, err = run.end()
    assert code == 1
    assert "the same command goes on" in " ".join(err.split())
    kept = rows(run.store)
    assert 0 < len(kept) < trials
    assert {'"status": "finished"' in record for _, _, record in kept} == {True}


def test_a_worker_that_cannot_go_on_ends_the_run(tmp_path, make_study):
    full = WORKER_KILLER.replace("os.kill(os.getpid(), signal.SIGKILL)", "raise OSError(28, 'No space left')")
    (tmp_path / "own_tricks" / "killer.py").write_text(full)
    make_study(**STUDY | {"tricks": ["killer"], "search": {"trials": 5, "workers": 1}})
    run = Run(tmp_path, tmp_path / "study.yaml")
    code, _, err = run.end()
    assert code == 2
    assert "the disk is full" in err
    assert "Traceback" not in err
    assert len(rows(run.store)) == 1  # the baseline, which had finished, is kept
