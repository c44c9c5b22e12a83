"""A fault of the device ends the process in which it came, and is recorded of the trial that met it alone."""

import json

import pytest

from tests.search.runs import STUDY, Run, rows

# As CUDA does it: what was met once is met by every later call of the process.
FAULTY = '''"""faulty: break the device of this process.

Paper: none
Use when: testing.
Avoid when: not testing.
Cost: everything.
"""
from dataclasses import dataclass
import torch
from tricksearch import Trick


def broken(*arguments, **options):
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700)


@dataclass(frozen=True)
class Faulty(Trick):
    """Breaks the device."""

    def {hook}:
        torch.nn.functional.one_hot = torch.nn.functional.cross_entropy = broken
        broken()
'''
TRAINING, MAKING = "loss(self, loss, bench)", "deploy(self, deployable, bench)"


@pytest.fixture
def start(tmp_path, make_study):
    """The baseline, then a recipe that breaks the device, then one that does not."""
    first = [{"faulty": {}}, {"solo": {"kind": "b"}}]

    def run(hook, *arguments):
        (tmp_path / "own_tricks" / "faulty.py").write_text(FAULTY.format(hook=hook))
        search = {"trials": 3, "workers": 1, "startup": 0, "first": first}
        make_study(**STUDY | {"tricks": ["faulty", "solo"], "search": search})
        return Run(tmp_path, tmp_path / "study.yaml", *arguments)

    return run


def outcomes(store):
    """For each record in order the tricks of its recipe, its status and its reason."""
    records = [json.loads(row[2]) for row in rows(store)]
    return [(list(record["recipe"]["tricks"]), record["status"], record["reason"]) for record in records]


def test_only_the_guilty_trial_pays(start):
    run = start("loss(self, loss, bench)")
    code, out, err = run.end()
    assert (code, err) == (0, ""), out
    plain, guilty, innocent = outcomes(run.store)
    assert plain == ([], "finished", "")
    assert guilty[:2] == (["faulty"], "failed")
    assert "illegal memory access" in guilty[2]
    assert "lost" not in guilty[2]
    assert innocent == (["solo"], "finished", ""), "it ran in another process, at the first attempt"


def test_without_workers_the_run_ends_and_goes_on(start):
    run = start("loss(self, loss, bench)", "--local")
    code, _, err = run.end()
    assert code == 1
    assert "no longer works in this process" in " ".join(err.split())
    assert "Traceback" not in err
    first = outcomes(run.store)
    assert [(tricks, status) for tricks, status, _ in first] == [([], "finished"), (["faulty"], "failed")]
    run = start("loss(self, loss, bench)", "--local")
    run.end()
    again = outcomes(run.store)
    assert again[:2] == first
    assert (["solo"], "finished", "") in again
