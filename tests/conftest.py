"""No test is about time: on a busy machine everything takes longer. Fixtures that examples share hold no state.

A study over three small tricks of the tests' own, and records that look like its trials', serve several folders.
"""

import os

# Before torch and numpy are imported: the nets are so small that a second thread only waits, and where other processes
# want the cores, threads that wait for each other at every operator cost more than the work does.
# No test but those of CUDA itself computes on a GPU: a machine with one gives the same results as one without. Those
# run with TEST_CUDA=1, which `python -m benchmarks cuda` sets.
if not os.environ.get("TEST_CUDA"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

from collections.abc import Iterator

import pytest
import sqlalchemy
import yaml
from hypothesis import HealthCheck, settings

from tricksearch.contract import discover
from tricksearch.records.measures import MEASURES
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record
from tricksearch.store.facts import Fact
from tricksearch.study.study import Study, load_study

settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="session")
def own_machine_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The machine's locks are those of this process's tests and their processes: no other's stopwatch is waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRICKSEARCH_LOCKS", str(tmp_path_factory.mktemp("locks")))
        yield


PLUGIN = '''"""{name}: scale the loss.

Paper: none
Use when: testing.
Avoid when: not testing.
Cost: none.
"""
from dataclasses import dataclass
from typing import Annotated
from tricksearch import Choice, Float, Trick


@dataclass(frozen=True)
class Scale(Trick):
    """Multiplies the loss."""
    {fields}
    claims = "{claims}"

    def loss(self, loss, bench):
        return lambda logits, batch: {factor} * loss(logits, batch)
'''
REAL = "factor: Annotated[float, Float(0.5, 2.0)] = 1.0"
NAMED = 'kind: Annotated[str, Choice("a", "b")] = "a"'


@pytest.fixture
def make_study(tmp_path):
    """Write a study over tricks `left` and `right` (one claim) and `solo`; keyword arguments become its keys."""
    folder = tmp_path / "own_tricks"
    folder.mkdir()
    for name, fields, claims, factor in (
        ("left", REAL, "side", "self.factor"),
        ("right", NAMED, "side", "1.0"),
        ("solo", NAMED, "", "1.0"),
    ):
        (folder / f"{name}.py").write_text(PLUGIN.format(name=name, fields=fields, claims=claims, factor=factor))

    def make(**keys) -> Study:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({"plugins": [str(folder)], "tricks": ["left", "right", "solo"]} | keys))
        return load_study(path)

    return make


@pytest.fixture
def follow(make_record):
    """Write to a fresh store whatever the operations say, and prove that it reads as a plain model of it does."""

    def run(store, operations) -> None:
        records, reports, facts = {}, {}, {}
        for kind, trial, second, text, number in operations:
            if kind == "record":
                recipe = Recipe(tricks={"any": {"n": len(records)}})
                record = make_record(trial, recipe, number, variant=second, reason=text)
                if (trial, second) in records:
                    with pytest.raises(sqlalchemy.exc.IntegrityError):
                        store.add([record])
                else:
                    store.add([record])
                    records[trial, second] = record
            elif kind == "report":
                store.report(trial, second, {"accuracy": number, text: float(trial)})
                reports[trial, second] = {"accuracy": number, text: float(trial)}
            else:
                store.put_fact(Fact(f"fact {second}"), [text, number])
                facts[f"fact {second}"] = [text, number]
        assert store.records() == [records[key] for key in sorted(records)]
        assert store.count() == len(records)
        assert store.reports() == [(*key, reports[key]) for key in sorted(reports)]
        assert {name: store.fact(Fact(name)) for name in facts} == facts

    return run


@pytest.fixture
def registry_of():
    return lambda study: discover(study.plugins)


@pytest.fixture
def make_record():
    def make(trial, recipe, accuracy=90.0, latency=1.0, **others) -> Record:
        status = others.pop("status", "finished")
        measures = {"accuracy": accuracy, "latency_ms": latency} if status == "finished" else {}
        measures |= {name: others.pop(name) for name in MEASURES if name in others}
        return Record(
            trial=trial,
            phase=others.pop("phase", "search"),
            status=status,
            reason=others.pop("reason", ""),
            seed=0,
            recipe=recipe.model_dump(mode="json"),
            measures=measures,
            **others,
        )

    return make
