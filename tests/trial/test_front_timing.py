"""The front, timed together: one timing of each graph that is still here, and one latency for those that tie."""

from dataclasses import replace

import numpy as np
import pytest

from tricksearch.contract import discover
from tricksearch.trial.cache import Cache
from tricksearch.trial.front_timing import FIELDS, timed_front
from tricksearch.trial.job import Job
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.run import run_trial


@pytest.fixture
def front(tiny_recipe, scratch, tmp_path):
    """Records of three graphs, the last of them by two recipes, whose deployables are in the cache of this test."""

    def made():
        records = []
        for width, tricks in ((8, {}), (16, {}), (32, {"int8": {"images": 32}}), (32, {"int8": {"images": 33}})):
            recipe = tiny_recipe(net={"widths": [width]}, tricks=tricks)
            records += run_trial(Job.of(recipe, 0, cache=tmp_path / "cache", trial=len(records)))
        return records

    return made


def timed(records, tmp_path):
    return timed_front(records, Cache(tmp_path / "cache"), discover())


def test_each_graph_is_timed_once_with_the_others(front, tmp_path, numbered_timings):
    records = front()
    assert [record.status for record in records] == ["finished"] * 4
    found = timed(records, tmp_path)
    assert found["left_out"] == {}
    assert len(found["graphs"]) == 3
    assert found["graphs"].keys() == {record.graph for record in records}
    for measured in found["graphs"].values():
        assert set(measured) == set(FIELDS)
        assert measured["latency_low_ms"] < measured["latency_ms"] < measured["latency_high_ms"]
        assert measured["timing"]["refers_to_ms"] == records[0].timing["refers_to_ms"], "to one moment of the run"
    assert len({measured["latency_rounds"] for measured in found["graphs"].values()}) == 1


def test_what_was_measured_elsewhere_or_is_gone_is_left_out(front, tmp_path, numbered_timings, tiny_recipe):
    first, second, third, _ = front()
    elsewhere = replace(first, hardware={"cpu": "another"})
    gone = tiny_recipe(net={"widths": [64]}).model_dump(mode="json")
    lost = replace(second, recipe=gone, recipe_key="", graph="lost", keys={})
    found = timed([elsewhere, lost, third], tmp_path)
    assert found["graphs"].keys() == {third.graph}
    assert found["left_out"] == {
        first.graph: "it was measured on another machine",
        "lost": "its file is no longer in the cache",
    }
    assert timed([elsewhere], tmp_path)["graphs"] == {}
    assert timed([], tmp_path) == {"graphs": {}, "ties": [], "left_out": {}, "disturbed": []}


def test_graphs_that_tie_share_one_latency(front, tmp_path, numbered_timings, steady_timing, monkeypatch):
    """The first two differ by a percent, and their copies by more; the third is far from both."""
    records = front()
    one, other, far = records[0].graph, records[1].graph, records[2].graph
    levels = np.array([[0.0, 0.03, -0.03], [0.02, 0.0, 0.01], [0.0, 0.0, 0.0]])

    def time(runner, settings, fastest_ms=None):
        rows = zip((2.0, 2.0, 3.0), levels, strict=True)
        return [steady_timing(ms, settings, copies=tuple(np.log(ms) + row), p95=1.1 * ms) for ms, row in rows]

    monkeypatch.setattr(Runner, "time", time)
    found = timed(records[:3], tmp_path)
    first, second, third = (found["graphs"][graph] for graph in (one, other, far))
    assert [sorted(group) for group in found["ties"]] == [sorted((one, other))]
    for name in ("latency_ms", "latency_low_ms", "latency_high_ms"):
        assert first[name] == second[name]
    assert first["latency_ms"] == pytest.approx(2.0 * np.exp(0.005) * first["timing"]["refers_to_ms"])
    assert first["latency_ratio"] == pytest.approx(second["latency_ratio"]) == pytest.approx(2.0 * np.exp(0.005))
    assert sorted(first["timing"]["tie"]) == sorted((one, other))
    assert third["latency_ms"] > first["latency_high_ms"]
    assert "tie" not in third["timing"]
    for measured in (first, second):
        assert measured["latency_ms"] <= measured["latency_p95_ms"]
        assert measured["throughput"] == pytest.approx(1e3 / measured["latency_ms"])


def test_what_was_disturbed_is_left_out_and_named(front, tmp_path, numbered_timings, steady_timing, monkeypatch):
    records = front()

    def time(runner, settings, fastest_ms=None):
        return [steady_timing(1.0, settings, disturbed=0.8)] * 3

    monkeypatch.setattr(Runner, "time", time)
    result = timed(records[:3], tmp_path)
    assert result["graphs"] == {}
    assert sorted(result["disturbed"]) == sorted(result["left_out"]) == sorted(record.graph for record in records[:3])
