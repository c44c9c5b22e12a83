"""The chance of being on the front that is told, against how often it is true, in simulated searches.

    python -m benchmarks chances [--studies 2000]

A search of 40 trainings, each made into four files: six tricks of training with effects drawn once a study, two of
deployment that make the file faster and cost some accuracy; runs differ by sd 0.235 points, of which the four files of
a training share nearly all, and the graphs are timed with 1 % of error. Six members of the front that the search shows
and the baseline are confirmed with fresh seeds, and the chances come from these, as in a study. Beside them: what a
resampling of the search's own values told, which is what was printed before.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.common import Row, hardware_line, print_rows
from tricksearch.records.pareto import front, membership
from tricksearch.verdicts.chances import SURE, Objective, chances
from tricksearch.verdicts.scale import margin_on_scale

Floats = NDArray[np.float64]
Pairs = list[tuple[float, bool]]

TRAININGS, TRICKS, CONFIRMED = 40, 6, 6
SD, SD_FILE, SD_LATENCY = 0.235, 0.05, 0.01  # points; points; share
MARGINS = (0.2, margin_on_scale(5.0, relative=True))  # points; a logarithm
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class World:
    """What is true of every recipe of a search."""

    accuracy: Floats  # (recipes,), percent
    graph: NDArray[np.intp]  # (recipes,)
    latency: Floats  # (graphs,), logarithms
    training: NDArray[np.intp]  # (recipes,)


def main(arguments: list[str]) -> list[Row]:
    """Print told and true shares, by the chance that was told."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks chances")
    parser.add_argument("--studies", type=int, default=2000)
    options = parser.parse_args(arguments)
    print(hardware_line(), flush=True)
    rows: list[Row] = []
    for seeds, effect in ((5, 0.2), (3, 0.2), (2, 0.2), (5, 0.05), (5, 0.6)):
        before = (seeds, effect) == (5, 0.2)
        outcomes = [simulate(seed, seeds, effect, before) for seed in range(options.studies)]
        for at, name in ((0, "fresh seeds"), (1, "the search's own values, as before"))[: 1 + before]:
            rows += summary(f"{name}, {seeds} seeds, effects of sd {effect:g}", [pair[at] for pair in outcomes])
    print_rows("The chance of being on the front: told, and how often it is so", rows)
    return rows


def simulate(
    seed: int, seeds: int, effect: float, before: bool = False
) -> tuple[list[tuple[float, bool]], list[tuple[float, bool]]]:
    """One study: (told, true) of each confirmed recipe, by the fresh seeds and, with `before`, as it was told."""
    rng = np.random.default_rng([seed, seeds])
    world = _world(rng, effect)
    shared = SD * rng.standard_normal(TRAININGS)[world.training]
    seen = world.accuracy + shared + SD_FILE * rng.standard_normal(len(shared))
    timed = world.latency + SD_LATENCY * rng.standard_normal(len(world.latency))
    points = np.column_stack([seen, timed[world.graph]])
    members = sorted(front(points.tolist(), (True, False)), key=lambda at: points[at, 1])
    places = np.unique(np.linspace(0, len(members) - 1, CONFIRMED).round().astype(int))
    chosen = list(dict.fromkeys([0, *(members[place] for place in places)]))
    old: Pairs = []
    if before:
        resampled = membership(points.tolist(), [(SD, SD_LATENCY)] * len(points), (True, False))
        old = [(resampled[at], _is_on(world, at, range(len(points)))) for at in chosen]
    fresh = {str(at): world.accuracy[at] + sqrt(SD**2 + SD_FILE**2) * rng.standard_normal(seeds) for at in chosen}
    latencies: dict[str, list[float]] = {}
    for at in chosen:
        graph = int(world.graph[at])
        latencies.setdefault(str(graph), []).extend(world.latency[graph] + SD_LATENCY * rng.standard_normal(seeds))
    told = chances(
        [
            Objective(
                {str(at): values.tolist() for at, values in fresh.items()}, list(map(str, chosen)), True, MARGINS[0]
            ),
            Objective(latencies, [str(world.graph[at]) for at in chosen], False, MARGINS[1]),
        ]
    )
    return [(share, _is_on(world, at, chosen)) for at, share in zip(chosen, told, strict=True)], old


def _world(rng: np.random.Generator, effect: float) -> World:
    """Recipe 0 is the plain baseline; trick 0 changes the net too, so that graphs differ."""
    on = rng.random((TRAININGS, TRICKS)) < 0.5
    on[0] = False
    accuracy = 75 + on @ (effect * rng.standard_normal(TRICKS)) + 0.3 * effect * rng.standard_normal(TRAININGS)
    costs, speeds = np.array([0.0, -0.1, -0.5, -0.6]), np.log([1.0, 0.8, 0.6, 0.5])
    files = np.arange(4)
    graph = (on[:, [0]] * 4 + files).ravel()
    latency = np.concatenate([speeds, speeds + 0.2])
    own = 0.3 * effect * rng.standard_normal((TRAININGS, 4)) * (files > 0)
    values = accuracy[:, None] + costs + own
    return World(values.ravel(), graph, latency, np.repeat(np.arange(TRAININGS), 4))


def _is_on(world: World, at: int, others: Sequence[int]) -> bool:
    """Whether no other is better by a margin on one objective, and not worse on any."""
    mine = np.array([world.accuracy[at], -world.latency[world.graph[at]]])
    theirs = np.array([[world.accuracy[other], -world.latency[world.graph[other]]] for other in others])
    ahead = theirs - mine
    return not bool(((ahead >= 0).all(axis=1) & (ahead >= np.array(MARGINS)).any(axis=1)).any())


def summary(name: str, studies: Sequence[Pairs]) -> list[Row]:
    """Rows of told against true, by what was told; the error is that of the share of true ones, studies being apart."""
    told = np.array([pair[0] for study in studies for pair in study])
    true = np.array([pair[1] for study in studies for pair in study], dtype=float)
    of = np.repeat(np.arange(len(studies)), [len(study) for study in studies])
    rows = []
    for low, high in itertools.pairwise(BINS):
        inside = (told >= low) & ((told < high) | (high == 1.0))
        if inside.sum() < 50:
            continue
        share = true[inside].mean()
        apart = np.bincount(of[inside], true[inside] - share, len(studies))
        error = 1.96 * sqrt(float((apart**2).sum())) / int(inside.sum())
        rows.append(
            Row(
                f"{name}: told {low:.0%} to {high:.0%}",
                f"told {told[inside].mean():.0%}, true {share:.1%} ± {error:.1%}",
                target="within 10 points" if low >= SURE else "not told",
                n=f"{len(studies)} studies, {int(inside.sum())} recipes",
            )
        )
    return rows
