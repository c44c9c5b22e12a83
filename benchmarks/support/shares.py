"""How much of a table's exact hypervolume a search has found, evaluation by evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import optuna

from benchmarks.support.tables import Table
from tricksearch.records.pareto import front, hypervolume

MINIMIZE = (False, False)
Indices = tuple[int, ...]
Costs = tuple[float, float]


class Search(Protocol):
    """A sequential search over a table's parameters, each an index into its values."""

    def ask(self) -> Indices:
        """The configuration to evaluate next."""

    def tell(self, costs: Costs) -> None:
        """The costs of the one that was asked for last."""


@dataclass(frozen=True)
class Trace:
    """What a search had found after each evaluation, in shares of the exact hypervolume, and its own time."""

    shares: list[float]
    milliseconds: float  # for one ask and tell, on average


class OptunaSearch:
    """Any of Optuna's samplers, through ask and tell."""

    def __init__(self, table: Table, sampler: optuna.samplers.BaseSampler) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._table = table
        self.study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)

    def ask(self) -> Indices:
        """Draw all parameters."""
        self._trial = self.study.ask()
        return tuple(
            self._draw(parameter.name, parameter.size, parameter.ordered) for parameter in self._table.parameters
        )

    def _draw(self, name: str, size: int, ordered: bool) -> int:
        if ordered:
            return self._trial.suggest_int(name, 0, size - 1)
        # As text, so that nobody takes the options' numbers for an order.
        return int(self._trial.suggest_categorical(name, [str(index) for index in range(size)]))

    def tell(self, costs: Costs) -> None:
        """Tell the study."""
        self.study.tell(self._trial, list(costs))


def run_search(search: Search, table: Table, budget: int) -> Trace:
    """Evaluate `budget` configurations, one after another; one that is asked for again counts again."""
    values: list[Costs] = []
    shares: list[float] = []
    spent = 0.0
    for _ in range(budget):
        start = time.perf_counter()
        indices = search.ask()
        spent += time.perf_counter() - start
        costs = table.at(indices)
        start = time.perf_counter()
        search.tell(costs)
        spent += time.perf_counter() - start
        if any(known[0] <= costs[0] and known[1] <= costs[1] for known in values):
            shares.append(shares[-1])
            continue
        values.append(costs)
        values = [values[member] for member in front(values, MINIMIZE)]
        shares.append(hypervolume(values, MINIMIZE, table.reference) / table.volume)
    return Trace(shares, 1e3 * spent / budget)


def run_sampler(
    factory: Callable[[int], optuna.samplers.BaseSampler], table: Table, seed: int, budget: int
) -> list[float]:
    """The shares after 1, 2, ... `budget` evaluations of the Optuna sampler that `factory(seed)` makes."""
    return run_search(OptunaSearch(table, factory(seed)), table, budget).shares
