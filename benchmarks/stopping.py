"""Early stopping on the digits study: training epochs spent to reach the same hypervolume, with it and without.

    python -m benchmarks stopping [--trials 60] [--orders 200]

Random recipes are trained to their end once, and tell at each rung what they would tell with stopping. The search is
then played again in many random orders, with the engine's own rule, one trial after another: so the luck of one order
is averaged out, and both sides see the same recipes with the same seeds.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.support.common import ROOT, Row, hardware_line, print_rows, run_python
from tricksearch.records.pareto import hypervolume
from tricksearch.records.record import Record
from tricksearch.search.stopping import Stopping
from tricksearch.store.folder import read_store
from tricksearch.study.settings import StoppingSettings

STUDY = "studies/digits.yaml"
SHARES = (0.9, 0.95, 0.98)  # of the hypervolume of all recipes
RULES = ("nondominated", "accuracy_in_band")
NEVER = 1_000_000  # rivals that nobody ever has: trials tell, and none is stopped
OBJECTIVES, MAXIMIZE = ("accuracy", "latency_ms"), (True, False)


@dataclass(frozen=True)
class Pool:
    """Trials that were trained to their end, and what each told at its rungs; the first is the baseline."""

    records: Sequence[Record]
    reports: dict[int, list[tuple[int, dict[str, float]]]]  # trial -> (epoch, measures), by epoch
    epochs: int

    def points(self, records: Sequence[Record]) -> list[tuple[float, float]]:
        """Accuracy in percent and latency in ms of each."""
        return [(float(record.accuracy or 0), float(record.latency_ms or 0)) for record in records]

    def share(self, records: Sequence[Record]) -> float:
        """The hypervolume of these as a share of that of all; the reference point is the worst of each objective."""
        return hypervolume(self.points(records), MAXIMIZE, self.worst) / self.whole

    @functools.cached_property
    def worst(self) -> tuple[float, float]:
        """The least accuracy and the greatest latency."""
        every = self.points(self.records)
        return min(accuracy for accuracy, _ in every), max(latency for _, latency in every)

    @functools.cached_property
    def whole(self) -> float:
        """The hypervolume of all."""
        return hypervolume(self.points(self.records), MAXIMIZE, self.worst)


@dataclass(frozen=True)
class Search:
    """One search: the epochs that were spent, and the share of the hypervolume, after each trial."""

    spent: list[int]
    share: list[float]

    def reaches(self, share: float) -> int | None:
        """The epochs after which the share was reached, or None."""
        return next((spent for spent, here in zip(self.spent, self.share, strict=True) if here >= share), None)


def main(arguments: list[str]) -> list[Row]:
    """Train the pool, then play."""
    parser = argparse.ArgumentParser(prog="stopping", description=__doc__)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--orders", type=int, default=200)
    options = parser.parse_args(arguments)
    print(hardware_line())
    pool, cost = _pool(options.trials)
    plain = [_play(pool, order, None) for order in _orders(pool, options.orders)]
    n = f"{len(pool.records)} recipes, {options.orders} orders"
    rows = [
        Row(
            "stopping: looks at two rungs against the training itself, median",
            f"{1e3 * statistics.median(look for look, _ in cost):.0f} ms",
            f"{1e3 * statistics.median(train for _, train in cost):.0f} ms",
            "",
            "",
            f"{len(cost)} trainings",
        )
    ]
    for rule in RULES:
        played = [_play(pool, order, rule) for order in _orders(pool, options.orders)]
        rows += _rows(rule, plain, played, n)
    print_rows(f"{STUDY}: random search with early stopping; the peer is the same order without it", rows)
    return rows


def _rows(rule: str, plain: list[Search], played: list[Search], n: str) -> list[Row]:
    rows = []
    for share in SHARES:
        # An order that never comes there has spent all that it could.
        mine, theirs = ([curve.reaches(share) or curve.spent[-1] for curve in side] for side in (played, plain))
        missed = sum(curve.reaches(share) is None for curve in played)
        ratios = [there / here for there, here in zip(theirs, mine, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows.append(
            Row(
                f"{rule}: epochs to {100 * share:.0f} % of the pool's hypervolume, mean",
                f"{statistics.mean(mine):.0f}",
                f"{statistics.mean(theirs):.0f}",
                f"{statistics.mean(theirs) / statistics.mean(mine):.2f} x; an order's quartiles {low:.2f}, "
                f"{middle:.2f}, {high:.2f}",
                "above 1",
                f"{n}; not reached in {missed}",
            )
        )
    all_mine, all_theirs = statistics.mean(curve.spent[-1] for curve in played), plain[0].spent[-1]
    kept = [100 * curve.share[-1] for curve in played]
    return [
        *rows,
        Row(
            f"{rule}: epochs for all recipes, mean",
            f"{all_mine:.0f}",
            str(all_theirs),
            f"{all_theirs / all_mine:.2f} x",
            "",
            n,
        ),
        Row(
            f"{rule}: hypervolume when all have been tried, mean and worst",
            f"{statistics.mean(kept):.1f} %, {min(kept):.1f} %",
            "100 %",
            "",
            "",
            n,
        ),
    ]


def _play(pool: Pool, order: Sequence[Record], rule: str | None) -> Search:
    stopping = Stopping(StoppingSettings.model_validate({"rule": rule or "none"}), OBJECTIVES, pool.epochs)
    finished: list[Record] = []
    spent = 0
    spents: list[int] = []
    shares: list[float] = []
    for record in order:
        reports = [report for report in pool.reports[record.trial] if report[0] in stopping.rungs]
        ended = next((epoch for epoch, measures in reports if stopping.report(record.trial, epoch, measures)), None)
        if ended is None:
            finished.append(record)
        spent += ended or pool.epochs
        spents.append(spent)
        # Most trials change nothing, and the hypervolume takes longer than all the rest.
        shares.append(pool.share(finished) if ended is None else shares[-1])
    return Search(spents, shares)


def _orders(pool: Pool, count: int) -> list[list[Record]]:
    baseline, *others = pool.records
    return [[baseline, *random.Random(seed).sample(others, len(others))] for seed in range(count)]


def _pool(trials: int) -> tuple[Pool, list[tuple[float, float]]]:
    """The pool, and for each training the seconds of its looks and its own."""
    with tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch:
        study: dict[str, Any] = yaml.safe_load((ROOT / STUDY).read_text())
        search = {"sampler": "random", "trials": trials, "stopping": {"min_rivals": NEVER}}
        path, folder = Path(scratch) / "study.yaml", Path(scratch) / "run"
        only = {"variants": "none", "phases": ["search"], "search": study["search"] | search}
        path.write_text(yaml.safe_dump(study | only))
        run_python("-c", "from tricksearch.cli import main; main()", "run", str(path), "--out", str(folder), "--quiet")
        store = read_store(folder)
        try:
            records, reports = store.records(), store.reports()
        finally:
            store.close()
    by_trial: dict[int, list[tuple[int, dict[str, float]]]] = {}
    for trial, epoch, measures in reports:
        by_trial.setdefault(trial, []).append((epoch, measures))
    # A net that was known already, of a recipe that differs behind the training alone, told nothing.
    kept = [record for record in records if record.finished and record.trial in by_trial]
    if not kept or kept[0].phase != "baseline":
        raise RuntimeError(f"the baseline did not finish: {records[0].reason if records else 'no record'}")
    cost = [
        (record.spent_seconds - float(record.train_seconds or 0), float(record.train_seconds or 0)) for record in kept
    ]
    return Pool(kept, by_trial, int(study["train"]["epochs"])), cost


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
