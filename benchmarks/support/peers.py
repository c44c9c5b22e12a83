"""The searches that samplers compares, by name: ours and their peers, each as its documentation starts it."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from benchmarks.support.shares import Costs, Indices, OptunaSearch, Search
from benchmarks.support.tables import Parameter, Table
from tricksearch.records.pareto import front

STARTUP = 12  # a study's default


@dataclass(frozen=True)
class Arm:
    """A search: how one starts, and how many evaluations it may make for each of the others'."""

    title: str
    start: Callable[[Table, int], Search]
    times: int = 1
    package: str | None = None  # of the extra `bench`


class Uniform:
    """Uniform draws, with replacement."""

    def __init__(self, table: Table, seed: int) -> None:
        self._parameters, self._random = table.parameters, random.Random(seed)

    def ask(self) -> Indices:
        """A uniform draw."""
        return tuple(self._random.randrange(parameter.size) for parameter in self._parameters)

    def tell(self, costs: Costs) -> None:
        """Nothing is learned."""


class PlainLocalSearch(Uniform):
    """Ten uniform draws; then a random member of the front with one parameter changed, never one seen before."""

    START, TRIES = 10, 100

    def __init__(self, table: Table, seed: int) -> None:
        super().__init__(table, seed)
        self._seen: list[Indices] = []
        self._costs: list[Costs] = []

    def ask(self) -> Indices:
        """The next configuration."""
        drawn = super().ask()
        if len(self._costs) >= self.START:
            members = front(self._costs, (False, False))
            for _ in range(self.TRIES):
                drawn = self._changed(self._seen[self._random.choice(members)])
                if drawn not in self._seen:
                    break
        self._seen.append(drawn)
        return drawn

    def _changed(self, member: Indices) -> Indices:
        place = self._random.randrange(len(member))
        other = [value for value in range(self._parameters[place].size) if value != member[place]]
        return (*member[:place], self._random.choice(other), *member[place + 1 :])

    def tell(self, costs: Costs) -> None:
        """Remember."""
        self._costs.append(costs)


class SyneTuneEvolution:
    """Syne Tune's regularized evolution for several objectives (MO-REA), whose searcher is driven without a backend."""

    def __init__(self, table: Table, seed: int, population: int) -> None:
        from syne_tune.config_space import choice, randint
        from syne_tune.optimizer.schedulers.multiobjective import MultiObjectiveRegularizedEvolution

        def domain(parameter: Parameter) -> Any:
            return (
                randint(0, parameter.size - 1)
                if parameter.ordered
                else choice([str(index) for index in range(parameter.size)])
            )

        np.random.seed(seed)  # its random start draws from the global generator, whatever seed it is given
        self._names = [parameter.name for parameter in table.parameters]
        self._searcher = MultiObjectiveRegularizedEvolution(
            {parameter.name: domain(parameter) for parameter in table.parameters},
            population_size=population,
            random_seed=seed,
        )
        self._told = 0

    def ask(self) -> Indices:
        """Suggest."""
        self._config = self._searcher.suggest()
        return tuple(int(self._config[name]) for name in self._names)

    def tell(self, costs: Costs) -> None:
        """Report."""
        self._searcher.on_trial_complete(self._told, self._config, list(costs))
        self._told += 1


class OurSearch:
    """One of tricksearch's own samplers, used as a study uses it: what was tried before is never tried again."""

    def __init__(self, table: Table, seed: int, name: str) -> None:
        from tricksearch.search.samplers import base as sampler
        from tricksearch.search.samplers import registry as samplers
        from tricksearch.search.space import layout

        def domain(parameter: Parameter) -> optuna.distributions.BaseDistribution:
            if parameter.ordered:
                return optuna.distributions.IntDistribution(0, parameter.size - 1)
            return optuna.distributions.CategoricalDistribution([str(index) for index in range(parameter.size)])

        self._layout = layout.Layout(
            tuple(layout.Parameter(parameter.name, domain(parameter)) for parameter in table.parameters)
        )
        self._sampler = samplers.make_sampler(name, self._layout, (False, False), seed=seed, startup=STARTUP)
        self._outcome = sampler.Outcome
        self._seen: set[Any] = set()
        self._number = 0

    def ask(self) -> Indices:
        """The first proposal that is new."""
        self._number += 1  # a study's trial 0 is its baseline
        self._setting = next(
            setting for setting in self._sampler.ask(self._number) if self._layout.key(setting) not in self._seen
        )
        self._seen.add(self._layout.key(self._setting))
        self._sampler.take(self._setting)
        return tuple(int(value) for value in self._setting.values())

    def tell(self, costs: Costs) -> None:
        """Tell the sampler."""
        self._sampler.tell(self._outcome(self._setting, costs))


def _optuna(make: Callable[[int], optuna.samplers.BaseSampler]) -> Callable[[Table, int], Search]:
    def start(table: Table, seed: int) -> Search:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return OptunaSearch(table, make(seed))

    return start


ARMS = {
    "auto": Arm("tricksearch auto", lambda table, seed: OurSearch(table, seed, "auto")),
    "local": Arm("tricksearch local", lambda table, seed: OurSearch(table, seed, "local")),
    "random": Arm("random", Uniform),
    "random_x4": Arm("random, 4 x the evaluations", Uniform, times=4),
    "nsga2": Arm("Optuna NSGA-II, population 50", _optuna(lambda seed: optuna.samplers.NSGAIISampler(seed=seed))),
    "tpe": Arm("Optuna TPE", _optuna(lambda seed: optuna.samplers.TPESampler(seed=seed))),
    "tpe_multivariate": Arm(
        "Optuna TPE, multivariate, constant liar",
        _optuna(lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)),
    ),
    "local_plain": Arm("Pareto local search, plain", PlainLocalSearch),
    "morea": Arm(
        "Syne Tune MO-REA, population 100",
        lambda table, seed: SyneTuneEvolution(table, seed, population=100),
        package="syne-tune",
    ),
    "morea_20": Arm(
        "Syne Tune MO-REA, population 20",
        lambda table, seed: SyneTuneEvolution(table, seed, population=20),
        package="syne-tune",
    ),
    "gp": Arm("Optuna GPSampler", _optuna(lambda seed: optuna.samplers.GPSampler(seed=seed))),
}
SLOW = ("gp", "nasbench201/imagenet")  # only where --arms or --tables names them: the rest takes ten minutes
