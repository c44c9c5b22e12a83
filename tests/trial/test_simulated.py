"""Simulated trials: what was planted is what comes out, the same each time, and no record passes for a real one."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from statistics import correlation, fmean, stdev

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tricksearch.contract import InputError
from tricksearch.records.measures import MEASURES
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record
from tricksearch.study.document import validate
from tricksearch.study.yaml_file import read_yaml
from tricksearch.trial.job import Job
from tricksearch.trial.simulated import SimulationSettings, simulate

WORLD = """
measures:
  accuracy: {base: 76.0, sd: 0.235, effects: {a: 0.2, b: -0.5}, pairs: {b + a: -0.1}, sds: {b: 2}}
  latency_ms: {base: 2.0, sd: 1.0, effects: {a: -20, b: 10}, pairs: {a + b: 50}}
  train_seconds: {base: 60, sd: 3, effects: {a: 30}}
short: {accuracy: {b: 0.7}, params: {c: -50}}
optimism: 0.4
"""
EPOCHS = 20


def world(text=WORLD, **keys) -> SimulationSettings:
    return SimulationSettings.model_validate(yaml.safe_load(text) | keys)


def recipe(*tricks: str, epochs: int = EPOCHS) -> Recipe:
    return Recipe.model_validate({"train": {"epochs": epochs}, "tricks": {name: {} for name in tricks}})


def trial(*tricks, settings=None, seed=0, number=0, epochs=EPOCHS, **options) -> list[Record]:
    simulation = {"settings": (settings or world()).model_dump(mode="json"), "epochs": EPOCHS}
    options = {"phase": "screen", "trial": number} | options
    job = Job.of(recipe(*tricks, epochs=epochs), seed, cache=Path("none"), simulation=simulation, **options)
    return simulate(job)


def test_a_record_is_whole_and_says_that_it_is_simulated():
    (record,) = trial("a", number=3, seed=5, test=True)
    assert (record.id, record.phase, record.status, record.seed, record.runs) == ("3", "screen", "finished", 5, 1)
    assert record.hardware == {"cpu": "simulated"}
    assert list(record.tricks) == ["a"]
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
    for name in MEASURES:
        assert math.isfinite(getattr(record, name)), name
        assert getattr(record, name) > 0, name
    assert all(type(getattr(record, name)) is int for name in ("params", "macs", "file_bytes", "memory_bytes"))
    assert (record.spent_seconds, record.spent_epochs) == (record.train_seconds, EPOCHS)
    assert trial("a")[0].test_accuracy is None


@pytest.mark.parametrize(
    ("tricks", "accuracy", "latency", "sd"),
    [
        ((), 76, 2, 0.235),
        (("a",), 76.2, 1.6, 0.235),
        (("b",), 75.5, 2.2, 0.47),
        (("a", "b"), 75.6, 2 * 0.8 * 1.1 * 1.5, 0.47),
        (("another",), 76, 2, 0.235),
    ],
)
def test_what_was_planted_comes_out(tricks, accuracy, latency, sd):
    runs = 400
    records = [trial(*tricks, seed=seed, test=True)[0] for seed in range(runs)]
    settings = world()
    assert settings.truth("accuracy", tricks) == pytest.approx(accuracy)
    assert settings.truth("latency_ms", tricks) == pytest.approx(latency)
    found = [record.accuracy for record in records]
    logs = [math.log(record.latency_ms) for record in records]
    near = 4 / math.sqrt(runs)  # standard errors; the seeds are fixed
    assert fmean(found) == pytest.approx(accuracy, abs=near * sd)
    assert fmean(record.test_accuracy for record in records) == pytest.approx(accuracy - 0.4, abs=near * sd)
    assert fmean(logs) == pytest.approx(math.log(latency), abs=near * 0.01)
    assert stdev(found) == pytest.approx(sd, rel=near) == settings.spread("accuracy", tricks)
    assert stdev(logs) == pytest.approx(0.01, rel=near)
    assert abs(correlation(found, logs)) < near, "each measure has noise of its own"


def test_what_is_not_given_is_the_same_in_every_trial():
    records = [trial("a", seed=0)[0], trial("b", seed=1)[0]]
    for name in sorted(set(MEASURES) - {"accuracy", "latency_ms", "latency_ratio", "train_seconds"}):
        assert getattr(records[0], name) == getattr(records[1], name), name


def test_a_short_training_has_other_effects_and_takes_less_time():
    settings = world(text="measures: {train_seconds: {base: 60}, accuracy: {base: 76, effects: {b: -0.5}}}")
    settings = settings.model_copy(update={"short": {"accuracy": {"b": 0.7}, "params": {"c": -50}}})
    (short,), (full,) = trial("b", "c", settings=settings, epochs=5), trial("b", "c", settings=settings)
    assert (short.accuracy, full.accuracy) == (pytest.approx(76.2), 75.5)
    assert (short.params, full.params) == (500_000, 1_000_000)
    assert (short.train_seconds, full.train_seconds) == (15, 60)
    assert (short.spent_epochs, full.spent_epochs) == (5, 20)
    assert trial("b", settings=settings, epochs=40)[0].accuracy == 75.5, "a longer one is not short"


def measured(records):
    timed = {"started", "wall_seconds"}
    return [{key: value for key, value in record.to_json().items() if key not in timed} for record in records]


def test_a_trial_that_runs_again_is_the_same_and_others_are_not():
    first = trial("a", seed=1, number=2, test=True)
    assert measured(trial("a", seed=1, number=2, test=True)) == measured(first)
    others = [trial("a", seed=2, number=2), trial("a", seed=1, number=3), trial("a", "c", seed=1, number=2)]
    assert len({records[0].accuracy for records in (first, *others)}) == 4
    assert trial("a", seed=1, number=2)[0].accuracy == first[0].accuracy, "with or without the test split"


def test_a_measure_draws_nothing_that_another_one_needs():
    alone = SimulationSettings.model_validate({"measures": {"train_seconds": {"base": 60, "sd": 3}}})
    with_others = world(text="measures: {accuracy: {base: 76, sd: 1}, train_seconds: {base: 60, sd: 3}}")
    assert trial(settings=alone)[0].train_seconds == trial(settings=with_others)[0].train_seconds


def test_variants_share_a_training():
    records = trial("a", number=4, variants=[recipe("a", "b"), recipe("a", "c")])
    assert [record.id for record in records] == ["4", "4.1", "4.2"]
    assert [record.phase for record in records] == ["screen", "search", "search"]
    assert len({record.train_seconds for record in records}) == 1
    assert len({record.accuracy for record in records}) == 3
    assert [record.spent_epochs for record in records] == [20, 0, 0]


def test_failures_are_records_and_as_many_as_asked_for():
    settings = world(failures=0.3)
    statuses = [trial(seed=seed, settings=settings, variants=[recipe("b")]) for seed in range(500)]
    failed = [records for records in statuses if not records[0].finished]
    assert len(failed) / 500 == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 500))
    for (record,) in failed:
        assert (record.status, record.reason, record.accuracy) == ("failed", "a simulated failure", None)
        assert record.hardware == {"cpu": "simulated"}
    assert all(len(records) == 2 for records in statuses if records[0].finished)
    kept = next(seed for seed, records in enumerate(statuses) if records[0].finished)
    assert trial(seed=kept, settings=world())[0].accuracy == statuses[kept][0].accuracy


def test_a_trial_takes_the_time_that_it_is_given():
    start = time.perf_counter()
    (record,) = trial(settings=world(seconds=0.05))
    assert time.perf_counter() - start >= 0.05 <= record.wall_seconds + 1e-3


@given(st.dictionaries(st.sampled_from("abcde"), st.floats(-200, 200)), st.sets(st.sampled_from("abcde")))
def test_an_accuracy_is_a_percentage(effects, tricks):
    settings = SimulationSettings.model_validate(
        {"measures": {"accuracy": {"base": 76, "sd": 5, "effects": effects}}, "optimism": 30}
    )
    (record,) = trial(*tricks, settings=settings, test=True)
    assert 0 <= record.accuracy <= 100
    assert 0 <= record.test_accuracy <= 100


def test_names_are_all_tricks_that_anything_names():
    text = """
    measures: {accuracy: {base: 1, effects: {a: 1}, pairs: {b + c: 1}, sds: {d: 2}}, latency_ms: {base: 1}}
    short: {f1: {e: 1}}
    """
    assert world(text=text).names() == set("abcde")
    assert SimulationSettings().names() == set()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("measures: {acuracy: {base: 1}}", "there is no metric 'acuracy'. Did you mean 'accuracy'"),
        ("short: {latency: {a: 1}}", "there is no metric 'latency'"),
        ("measures: {accuracy: {base: 760}}", "the base of accuracy is 760, which is above 100 %"),
        ("measures: {accuracy: {sd: 1}}", "is missing"),
        ("measures: {accuracy: {base: 76, sd: -1}}", "must be at least 0, got -1"),
        ("measures: {accuracy: {base: 76, effect: {a: 1}}}", "'effect' is not a key here"),
        ("measures: {latency_ms: {base: 1, effects: {a: -100}}}", "a changes latency_ms by -100 percent"),
        ("measures: {latency_ms: {base: 1, effects: {a: -60}}}\nshort: {latency_ms: {a: -50}}", "by -110 percent"),
        ("measures: {accuracy: {base: 76, pairs: {a: 1}}}", "'a' is no pair of tricks. Write two of them with a plus"),
        ("measures: {accuracy: {base: 76, pairs: {a + a: 1}}}", "'a [+] a' is no pair"),
        ("measures: {accuracy: {base: 76, pairs: {a + b + c: 1}}}", "'a [+] b [+] c' is no pair"),
        ("measures: {accuracy: {base: 76, pairs: {a + b: 1, b + a: 2}}}", "'a [+] b' is given twice"),
        ("measures: {accuracy: {base: 76, effects: {a: .nan}}}", "finite number"),
        ("failures: 1.5", "must be at most 1, got 1.5"),
        ("sleep: 3", "'sleep' is not a key here"),
    ],
)
def test_what_cannot_be_simulated_is_said(text, wrong, tmp_path):
    (tmp_path / "world.yaml").write_text(text + "\n")
    with pytest.raises(InputError, match=wrong) as error:
        validate(read_yaml(tmp_path / "world.yaml"), SimulationSettings)
    assert "world.yaml, line" in str(error.value)


def test_torch_is_not_needed():
    code = """
import sys
from pathlib import Path
from tricksearch.records.recipe import Recipe
from tricksearch.trial.job import Job
from tricksearch.trial.simulated import SimulationSettings, simulate
assert "numpy" not in sys.modules
simulation = {"settings": SimulationSettings().model_dump(mode="json"), "epochs": 20}
simulate(Job.of(Recipe(), cache=Path("none"), simulation=simulation))
print(*{name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "tricksearch" in done.stdout.split()
    assert not {"torch", "ray", "optuna", "pandas", "scipy"} & set(done.stdout.split())
