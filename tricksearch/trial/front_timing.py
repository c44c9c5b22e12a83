"""The front, timed again: each distinct graph on or near it in rounds with the others, so that their order is known."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tricksearch.contract import Deployable, Registry, Runtime
from tricksearch.records.hardware import hardware, same_machine
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record
from tricksearch.trial.baseline import baseline_of, yardstick_ms
from tricksearch.trial.cache import Cache
from tricksearch.trial.context import JobContext
from tricksearch.trial.data.loaded import cached_data
from tricksearch.trial.latencies import measures_of
from tricksearch.trial.measuring.latency import timed_alone
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.measuring.rounds import interval
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.measuring.stopwatch import Timing
from tricksearch.trial.stages import Stages

FIELDS = (
    "latency_ms",
    "latency_ratio",
    "latency_low_ms",
    "latency_high_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "latency_runs",
    "latency_rounds",
    "latency_disturbed",
    "latency_note",
    "device_ms",
    "device_p95_ms",
    "throughput",
    "throughputs",
    "timing",
)

PATIENCE = 3  # times as long as for one graph in a trial: the machine's fast state may have to be waited for
MOST_SECONDS = 30.0  # of all graphs together, unless a trial's own patience comes to more


def timed_front(records: Sequence[Record], cache: Cache, registry: Registry) -> dict[str, Any]:
    """Time the graphs of these records together, one of each graph.

    Returns `graphs`, by each graph's mark the fields of its latency; `ties`, groups of marks that are equally fast as
    far as this machine can tell, which have one latency; `left_out`, why a graph was not timed, by its mark; and
    `disturbed`, those of them that another time may do better for. What was measured on another machine, or is no
    longer in the cache, is left out. Raises TrialError, MemoryError, and
    InputError where the cache cannot be written.
    """
    recipes = {record.graph: (Recipe.model_validate(record.recipe), record) for record in records}
    if not recipes:
        return {"graphs": {}, "ties": [], "left_out": {}, "disturbed": []}
    cache.check()  # its folder may be gone: then every graph is left out
    first = next(iter(recipes.values()))[0]
    usual = first.latency.seconds
    longest = max(usual, min(PATIENCE * usual, MOST_SECONDS / len(recipes)))
    patient = first.latency.model_copy(update={"seconds": longest})
    data = cached_data(first.data)
    machine, runner = Machine(), Runner(data.validation.pixels.numpy())
    try:
        with machine.shared(), cache.in_use(), tempfile.TemporaryDirectory(prefix="tricksearch-") as folder:
            context = JobContext(registry, data, cache, machine, runner)
            here, left_out = _here(recipes, context, Path(folder))
            graphs: dict[str, dict[str, Any]] = {}
            ties: list[list[str]] = []
            disturbed: list[str] = []
            for device, files in here.items():
                baseline = baseline_of(first, context)
                fastest = min(recipes[graph][1].timing["fastest_ms"] for graph in files)
                timings = timed_alone(
                    runner, machine, list(files.values()), baseline.deployable, patient, fastest_ms=fastest
                )
                if not timings[0].reliable:  # rounds are disturbed for all files together
                    left_out |= dict.fromkeys(files, "other programs had the processor while it was timed")
                    disturbed += files
                    continue
                refers_to = yardstick_ms(first, baseline.key, device, timings[0], context)
                by_graph = dict(zip(files, timings, strict=True))
                graphs |= {
                    graph: measures_of(timing, refers_to, first.latency, graph, device)
                    for graph, timing in by_graph.items()
                }
                for group in tied(by_graph):
                    ties.append(group)
                    shared = _shared([by_graph[graph] for graph in group], refers_to)
                    for graph in group:
                        graphs[graph] |= _as_the_tie(graphs[graph], shared) | {
                            "timing": graphs[graph]["timing"] | {"tie": group}
                        }
    finally:
        runner.close()
        machine.close()
    return {
        "graphs": {graph: {name: measured[name] for name in FIELDS} for graph, measured in graphs.items()},
        "ties": ties,
        "left_out": left_out,
        "disturbed": disturbed,
    }


def _here(
    recipes: Mapping[str, tuple[Recipe, Record]], context: JobContext, folder: Path
) -> tuple[dict[str, dict[str, tuple[Runtime, Deployable]]], dict[str, str]]:
    """The files that can be timed here, by device and graph, and why the others cannot, by graph."""
    here: dict[str, dict[str, tuple[Runtime, Deployable]]] = {}
    left_out = {}
    for graph, (recipe, record) in recipes.items():
        if not same_machine(record.hardware, hardware(), record.timing.get("device", "cpu")):
            left_out[graph] = "it was measured on another machine"
            continue
        stages = Stages(recipe, record.seed, context, folder, keys=record.keys)
        if not stages.is_deployed:
            left_out[graph] = "its file is no longer in the cache"
        else:
            deployed = stages.deployed()
            here.setdefault(deployed.runtime.device, {})[graph] = deployed.runtime, deployed.deployable
    return here, left_out


def tied(timings: Mapping[str, Timing]) -> list[list[str]]:
    """Groups of two or more whose times, taken in the same rounds, do not differ beyond the 95 % interval.

    Each of a group is compared with its fastest; a group ends with the first that is slower.
    """
    order = sorted(timings, key=lambda graph: timings[graph].ratio)
    groups: list[list[str]] = []
    for graph in order:
        if groups and not _slower(timings[groups[-1][0]], timings[graph]):
            groups[-1].append(graph)
        else:
            groups.append([graph])
    return [group for group in groups if len(group) > 1]


def _slower(first: Timing, second: Timing) -> bool:
    if len(first.copies) < 2:  # which tells nothing of how much loadings differ
        return True
    middle, half = interval(np.array(second.copies) - np.array(first.copies))
    return middle > half


def _shared(timings: Sequence[Timing], refers_to: float) -> dict[str, float]:
    """The one latency of a tie: the mean, by logarithms."""
    middle, half = interval(np.mean([timing.copies for timing in timings], axis=0))
    return {
        "latency_ms": math.exp(middle) * refers_to,
        "latency_low_ms": math.exp(middle - half) * refers_to,
        "latency_high_ms": math.exp(middle + half) * refers_to,
    }


def _as_the_tie(own: Mapping[str, Any], shared: Mapping[str, float]) -> dict[str, Any]:
    """A graph's latency and what follows from it, moved to the one latency of its tie."""
    factor = shared["latency_ms"] / own["latency_ms"]
    moved = {name: own[name] * factor for name in ("latency_ratio", "latency_p95_ms", "latency_p99_ms")}
    rates = {size: rate / factor for size, rate in own["throughputs"].items()}
    return {**shared, **moved, "throughput": max(rates.values()), "throughputs": rates}
