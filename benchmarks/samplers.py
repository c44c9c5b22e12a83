"""The samplers on tables of trained nets: the share of the exact hypervolume that each has found, and what it costs.

    python -m benchmarks samplers [--tables NAME ...] [--arms NAME ...] [--seeds 20] [--budget 200]

One evaluation after another, two objectives, every arm from the same seeds; two processes of one thread each. The
p-values compare `auto` with each other arm by Wilcoxon's signed-rank test over the seeds, two-sided, adjusted by Holm's
method over all comparisons of a table. Needs the packages of the extra `bench`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import multiprocessing
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as Page

from benchmarks.support.common import Row, hardware_line
from benchmarks.support.peers import ARMS, SLOW
from benchmarks.support.shares import run_search
from benchmarks.support.tables import NAMES, load_table

BUDGETS, COMPARED = (50, 100, 200), (100, 200)
OURS, SLOWEST = "auto", 20.0  # ms for one ask and tell, aimed at
TARGETS = {("nasbench201/cifar100", 100): 0.86, ("nasbench201/cifar100", 200): 0.91}  # aimed at
PROCESSES = 2

Task: TypeAlias = tuple[str, str, int, int]  # table, arm, seed, budget
Shares: TypeAlias = dict[str, dict[int, NDArray[np.float64]]]  # of each arm after so many evaluations, one a seed


def main(arguments: list[str]) -> list[Row]:
    """Run every arm on every table, and print a table for each."""
    parser = argparse.ArgumentParser(
        prog="samplers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arms = [name for name in ARMS if name not in SLOW]
    tables = [name for name in NAMES if name not in SLOW]
    parser.add_argument("--tables", nargs="+", choices=NAMES, default=tables, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=arms, metavar="NAME", help=", ".join(ARMS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=int, default=BUDGETS[-1], help="evaluations of each run")
    asked = parser.parse_args(arguments)
    _check_packages(asked.arms)
    for name in asked.tables:
        load_table(name)  # made here, once, and only read by the processes
    print(hardware_line(), flush=True)
    tasks = [
        (table, arm, seed, asked.budget) for table in asked.tables for arm in asked.arms for seed in range(asked.seeds)
    ]
    budgets = [budget for budget in BUDGETS if budget <= asked.budget] or [asked.budget]
    left = {table: len(asked.arms) * asked.seeds for table in asked.tables}
    shares: dict[str, dict[str, dict[int, dict[int, float]]]] = defaultdict(lambda: defaultdict(dict))
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rows: list[Row] = []
    with _one_thread(), multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for (table, arm, seed, _), volumes, milliseconds in pool.imap_unordered(_run, tasks):
            shares[table][arm][seed] = {budget: volumes[budget * ARMS[arm].times - 1] for budget in budgets}
            times[table][arm].append(milliseconds)
            left[table] -= 1
            if not left[table]:
                rows += _show(table, _by_budget(shares[table], asked.arms, budgets), times[table], asked.seeds)
    return rows


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """For processes that start meanwhile: numpy's libraries read it when they are loaded."""
    before = dict(os.environ)
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _check_packages(arms: Sequence[str]) -> None:
    for arm in arms:
        package = ARMS[arm].package
        if package and importlib.util.find_spec(package.replace("-", "_")) is None:
            sys.exit(f"the arm '{arm}' needs the package {package}: pip install 'tricksearch[bench]', or make bench")


def _run(task: Task) -> tuple[Task, list[float], float]:
    table_name, arm_name, seed, budget = task
    table, arm = load_table(table_name), ARMS[arm_name]
    trace = run_search(arm.start(table, seed), table, budget * arm.times)
    return task, trace.shares, trace.milliseconds


def _by_budget(
    shares: Mapping[str, Mapping[int, Mapping[int, float]]], arms: Sequence[str], budgets: list[int]
) -> Shares:
    """By arm and budget, the seeds in order: the signed-rank test pairs them."""
    return {
        arm: {budget: np.array([shares[arm][seed][budget] for seed in sorted(shares[arm])]) for budget in budgets}
        for arm in arms
    }


def _show(table: str, shares: Shares, times: Mapping[str, Sequence[float]], seeds: int) -> list[Row]:
    budgets = list(next(iter(shares.values())))
    p = p_values(shares, [budget for budget in COMPARED if budget in budgets])
    page = Page(
        title=f"{table}: share of the exact hypervolume, mean over {seeds} seeds (standard deviation)",
        title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0),
    )  # fmt: skip
    headings = [f"after {budget}" for budget in budgets]
    headings += [f"p at {budget}" for budget in COMPARED if budget in budgets]
    for heading in ("search", *headings, "ms an evaluation"):
        page.add_column(heading)
    for arm, reached in shares.items():
        page.add_row(
            ARMS[arm].title,
            *(
                f"{reached[budget].mean():.3f} ({reached[budget].std(ddof=1 if seeds > 1 else 0):.3f})"
                for budget in budgets
            ),
            *(_p(p.get((arm, budget))) for budget in COMPARED if budget in budgets),
            f"{np.mean(times[arm]):.2f}",
        )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 170)
    console.print(page, markup=False)
    console.print()
    sys.stdout.flush()
    return _rows(table, shares, times, p, seeds) if OURS in shares else []


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_values(shares: Shares, budgets: Sequence[int]) -> dict[tuple[str, int], float]:
    """Wilcoxon's signed-rank test of ours against each other arm at each budget, adjusted by Holm's method."""
    from scipy.stats import wilcoxon

    raw = {}
    for arm in shares:
        for budget in budgets:
            if OURS not in shares or arm == OURS:
                continue
            difference = shares[OURS][budget] - shares[arm][budget]
            raw[arm, budget] = float(wilcoxon(difference).pvalue) if difference.any() else 1.0
    adjusted, most = {}, 0.0
    for place, key in enumerate(sorted(raw, key=lambda key: raw[key])):
        most = max(most, min(1.0, raw[key] * (len(raw) - place)))
        adjusted[key] = most
    return adjusted


def _rows(
    table: str, shares: Shares, times: Mapping[str, Sequence[float]], p: Mapping[tuple[str, int], float], seeds: int
) -> list[Row]:
    """Against the best of the peers that may evaluate no more than ours."""
    rows = []
    peers = [arm for arm in shares if ARMS[arm].times == 1 and arm != OURS]
    for budget in COMPARED:
        if budget not in shares[OURS] or not peers:
            continue
        mine = shares[OURS][budget].mean()
        best = max(peers, key=lambda arm: float(shares[arm][budget].mean()))
        theirs = shares[best][budget].mean()
        target = TARGETS.get((table, budget))
        rows.append(
            Row(
                f"samplers: {table}, share of the hypervolume after {budget} (ratio: of what is missing)",
                f"{mine:.3f}",
                f"{theirs:.3f} {ARMS[best].title}, p {_p(p[best, budget])}",
                f"{(1 - theirs) / (1 - mine):.2f} x" if mine < 1 else "-",
                f"at least {target}" if target else "",
                f"{seeds} seeds",
            )
        )
    rows.append(
        Row(
            f"samplers: {table}, an ask and tell",
            f"{np.mean(times[OURS]):.1f} ms",
            "; ".join(f"{np.mean(times[arm]):.1f} {ARMS[arm].title}" for arm in peers if arm == "tpe"),
            "",
            f"at most {SLOWEST:.0f} ms",
            f"{seeds} seeds",
        )
    )
    return rows
