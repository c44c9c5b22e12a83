"""The plain net's file, in turn with which every latency is taken, and the time of its call that latencies refer to."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from tricksearch.contract import Deployable, Json, TrialError
from tricksearch.trial.keys import baseline_key, plain_net, yardstick_key
from tricksearch.trial.measuring.export import export
from tricksearch.trial.training.nets import Normalize, build_net

if TYPE_CHECKING:
    from tricksearch.records.recipe import Recipe
    from tricksearch.trial.context import JobContext
    from tricksearch.trial.measuring.stopwatch import Timing

GRAPH = "baseline.onnx"


@dataclass(frozen=True)
class Baseline:
    """The file of a recipe's net without any trick; `key` is that of its cache entry."""

    key: str
    deployable: Deployable


def key_of_baseline(recipe: Recipe, context: JobContext) -> tuple[str, Json]:
    """The key of the recipe's plain net's file, whether that was made already or not, and what makes that net."""
    parts = recipe, _input_shape(context), len(context.data.classes)
    return baseline_key(*parts), plain_net(*parts)


def baseline_of(recipe: Recipe, context: JobContext) -> Baseline:
    """The file of the recipe's plain net, untrained, from the cache or made: its weights do not change its latency.

    Raises TrialError where the plain net cannot be exported, and InputError where it cannot be built.
    """
    data, shape = context.data, _input_shape(context)
    key, _ = key_of_baseline(recipe, context)
    with context.cache.building("baseline", key, context.machine):
        entry = context.cache.get("baseline", key)
        if entry is None:
            context.note("export")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                plain = build_net(recipe.net, len(data.classes), shape)
            net = nn.Sequential(Normalize(*data.channel_stats()), plain).eval()
            with tempfile.TemporaryDirectory(prefix="tricksearch-") as folder:
                graph = Path(folder) / GRAPH
                try:
                    export(all_tensors_different(net), shape, graph)
                except TrialError as error:
                    raise TrialError(f"the plain net, which latencies are compared with: {error}") from error
                entry = context.cache.put("baseline", key, {}, {GRAPH: graph})
    return Baseline(key, Deployable(entry.file(GRAPH)))


def known_yardstick_ms(recipe: Recipe, baseline: str, device: str, context: JobContext) -> float | None:
    """The milliseconds of the yardstick that this machine's latencies refer to, or None where there are none yet.

    `baseline` is the key of the plain net's file.
    """
    entry = context.cache.get("latency", yardstick_key(recipe, baseline, device))
    return None if entry is None else float(entry.meta["ms"])


def yardstick_ms(recipe: Recipe, baseline: str, device: str, timing: Timing, context: JobContext) -> float:
    """The milliseconds of the yardstick that this machine's latencies refer to: this timing's where there are none yet.

    All latencies that share a cache refer to one moment in this way, however the machine's speed moves later. A moment
    that other programs disturbed gives way to the first that they did not. `baseline` is the key of the plain net's
    file.
    """
    if timing.reliable:
        return keep_yardstick_ms(recipe, baseline, device, timing.yardstick_ms, context)
    known = known_yardstick_ms(recipe, baseline, device, context)
    # Until one is undisturbed, all refer to the first of the disturbed ones, or the front would follow the load.
    return (
        keep_yardstick_ms(recipe, baseline, f"{device}, disturbed", timing.yardstick_ms, context)
        if known is None
        else known
    )


def keep_yardstick_ms(recipe: Recipe, baseline: str, device: str, ms: float, context: JobContext) -> float:
    """The milliseconds of the yardstick that are kept: these, where there were none.

    A latency in the cache brings those that it refers to: making room there may have taken the entry and left the
    latency.
    """
    key = yardstick_key(recipe, baseline, device)
    with context.cache.building("latency", key, context.machine):
        entry = context.cache.get("latency", key) or context.cache.put("latency", key, {"ms": ms})
    return float(entry.meta["ms"])


def _input_shape(context: JobContext) -> tuple[int, int, int]:
    _, channels, height, width = context.data.train.pixels.shape
    return int(channels), int(height), int(width)


def all_tensors_different(net: nn.Module) -> nn.Module:
    """The untrained net with no two tensors alike: the exporter would store equal ones, such as zeros, only once."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.01 * torch.rand(tensor.shape, generator=source).to(tensor))
    return net
