"""Which record is shipped: the knee, the best, the best within a limit, or one by its id."""

from pathlib import Path

import pytest

from tricksearch.contract import InputError
from tricksearch.ship.pick import picked_record


@pytest.fixture
def records(make_study, make_record):
    """A baseline, three on the front, one that breaks the constraint, one that failed."""
    study = make_study(constraints=["file_bytes <= 1000"])
    rows = [(90.0, 2.0, 500), (92.0, 1.5, 500), (95.0, 2.5, 500), (95.5, 9.0, 500), (99.0, 0.5, 2000)]
    recipes = [study.recipe({"left": {"factor": 1 + trial / 10}} if trial else {}) for trial in range(6)]
    finished = [
        make_record(trial, recipes[trial], accuracy, latency, phase="search" if trial else "baseline", file_bytes=size)
        for trial, (accuracy, latency, size) in enumerate(rows)
    ]
    return study, [*finished, make_record(5, recipes[5], status="diverged", reason="the loss is NaN", variant=2)]


@pytest.mark.parametrize(
    ("pick", "trial"),
    [
        ("knee", 2), ("best", 3), (" best ", 3), ("latency_ms<=2", 1), ("latency_ms <= 1.5", 1),
        ("latency_ms <= 1.25*baseline", 2), ("accuracy >= baseline - 1", 3), ("4", 4), ("0", 0),
    ],
)  # fmt: skip
def test_a_pick(records, pick, trial):
    study, rows = records
    assert picked_record(rows, study, pick, Path("run")).trial == trial


@pytest.mark.parametrize(
    ("pick", "words"),
    [
        ("7", ["run: there is no record '7'", "Known: 0, 1"]),
        ("5.2", ["record '5.2' has nothing to ship, it is diverged: the loss is NaN"]),
        ("latency_ms <= 1", ["no record keeps 'latency_ms <= 1'", "of 4, record 1 comes nearest, with 1.5"]),
        ("accuracy >= 1.2 * baseline", ["(108 here)", "record 3 comes nearest, with 95.5"]),
        ("memory_bytes <= 5", ["'memory_bytes' was measured in no record"]),
        ("latncy_ms <= 1", ["there is no metric 'latncy_ms'", "Did you mean 'latency_ms'?"]),
        ("latency_ms < 1", ["'latency_ms < 1' is no pick", "knee"]),
        ("fastest", ["'fastest' is no pick"]),
        ("", ["'' is no pick"]),
    ],
)
def test_a_pick_that_cannot_be_made(records, pick, words):
    study, rows = records
    with pytest.raises(InputError) as error:
        picked_record(rows, study, pick, Path("run"))
    for each in words:
        assert each in str(error.value)


def test_a_run_without_a_finished_record_or_baseline(records):
    study, rows = records
    for pick in ("knee", "best"):
        with pytest.raises(InputError, match=f"no '{pick}': none of 1 records has finished and keeps file"):
            picked_record(rows[5:], study, pick, Path("run"))
    with pytest.raises(InputError, match="relative to the baseline, which did not finish"):
        picked_record(rows[1:], study, "latency_ms <= 0.5 * baseline", Path("run"))
