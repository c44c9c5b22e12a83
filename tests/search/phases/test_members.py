"""The front's members: what the means of their latencies rest on."""

import math

import pytest

from tricksearch.search.phases.members import members_of
from tricksearch.store.store import Store


@pytest.fixture
def seen(make_study, make_record, tmp_path):
    """The means of a recipe's runs as they were searched; each run is (latency, half of its interval, its timing)."""
    study = make_study()

    def of(runs, **others):
        base = study.base_recipe()
        records = []
        for at, (latency, half, timing) in enumerate(runs):
            known = {}
            if half is not None:
                known |= {"latency_low_ms": latency * math.exp(-half), "latency_high_ms": latency * math.exp(half)}
            moment = {} if timing is None else {"id": timing}
            records.append(make_record(at, base, 90.0 + at, latency, phase="baseline", timing=moment, **known | others))
        store = Store.at(tmp_path / "store.db")
        try:
            (member,) = members_of(study, store, records, None)
        finally:
            store.close()
        return member.seen

    return of


def test_a_baseline_that_is_the_front_stands_there_once(seen):
    assert set(seen([(2.0, 0.01, "a"), (2.1, 0.01, "b")])) == {"accuracy", "latency_ms"}


def test_a_latency_that_runs_share_has_the_interval_of_its_timing(seen):
    means = seen([(2.0, 0.01, "one")] * 3)
    latency = means["latency_ms"]
    assert (latency.value, latency.n) == (2.0, 1)
    assert (latency.low, latency.high) == pytest.approx((2.0 * math.exp(-0.01), 2.0 * math.exp(0.01)))
    assert means["accuracy"].n == 3


def test_latencies_that_were_taken_each_for_itself_are_as_many(seen):
    latency = seen([(2.0, 0.01, "a"), (2.1, 0.01, "b"), (2.1, 0.01, "b")])["latency_ms"]
    assert latency.n == 2
    assert latency.value == pytest.approx(2.05)
    assert latency.low < 2.0 < 2.1 < latency.high


def test_one_timing_without_an_interval_has_none(seen):
    latency = seen([(2.0, None, "one")] * 2)["latency_ms"]
    assert (latency.value, latency.low, latency.high, latency.n) == (2.0, None, None, 1)


def test_runs_of_an_earlier_version_count_each(seen):
    assert seen([(2.0, None, None), (2.2, None, None)])["latency_ms"].n == 2
