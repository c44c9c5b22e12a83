"""The proposer: draws recipes with Optuna's ask and tell, never one twice, from records that may be another run's."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from tricksearch.search.space import Space
from tricksearch.search.study import Study
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.record import MEASURES, STOPPED, Record
from tricksearch.verdicts.designs import balanced

optuna.logging.set_verbosity(optuna.logging.WARNING)

GUIDED_DRAWS = 10  # repeats in a row after which the sampler's favourite is varied at random instead
VARIED_DRAWS = 500  # repeats in a row, varied more and more, after which nothing new is left to draw


@dataclass(frozen=True)
class Proposal:
    """A recipe to try."""

    trial: int
    phase: str
    recipe: Recipe
    variants: tuple[dict[str, dict[str, Any]], ...]  # the tricks of other recipes that share its training


class Proposer:
    """Proposes the plain baseline first, then a balanced start, then what the sampler draws.

    The sampler's memory is rebuilt from the study's records, so a resumed search goes on where the last one stopped.
    """

    def __init__(self, study: Study, space: Space, records: Sequence[Record] = ()) -> None:
        self._study, self._space = study, space
        self._base = study.base_recipe()
        self._seen: set[str] = set()
        self._taken: set[int] = set()
        self._lowest = 0  # no number below it is free
        self._asked: dict[int, optuna.trial.Trial] = {}
        self._random = random.Random(f"{study.search.seed}:{len(records)}")
        self._optuna = optuna.create_study(
            directions=["maximize" if MEASURES[name].maximize else "minimize" for name in study.objectives],
            sampler=_sampler(study, len(records)),
        )
        self._start = balanced(space.switches(), study.search.startup, study.search.seed)
        for record in records:
            self._seen.add(Recipe.model_validate(record.recipe).key)
            self._taken.add(record.trial)
            self._remember(record)

    def propose(self) -> Proposal | None:
        """The next recipe, or None where every recipe of the space has been tried."""
        number = next(number for number in itertools.count(self._lowest) if number not in self._taken)
        self._lowest = number
        if number == 0:
            return self._proposal(0, "baseline", self._base)
        drawn = self._draw(number)
        return None if drawn is None else self._proposal(number, "search", drawn)

    def tell(self, record: Record) -> None:
        """Learn the outcome of a proposal. A trial without values is told as failed, never as a number.

        One that was stopped is told as pruned, without a value: TPE takes it for worse than every finished one.
        """
        trial = self._asked.pop(record.trial, None) if record.variant == 0 else None
        if trial is None:
            self._remember(record)
        elif self._told(record):
            self._optuna.tell(trial, self._values(record))
        else:
            self._optuna.tell(trial, state=TrialState.PRUNED if record.status == STOPPED else TrialState.FAIL)

    def release(self, variants: Sequence[dict[str, dict[str, Any]]]) -> None:
        """Let variants that were not run after all be drawn again."""
        self._seen -= {self._base.model_copy(update={"tricks": tricks}).key for tricks in variants}

    def _proposal(self, number: int, phase: str, recipe: Recipe) -> Proposal:
        self._taken.add(number)
        self._seen.add(recipe.key)
        variants = []
        for tricks in self._space.variants(recipe.tricks, self._study.variants):
            key = self._base.model_copy(update={"tricks": tricks}).key
            if key not in self._seen:
                self._seen.add(key)  # nobody else may try it meanwhile
                variants.append(tricks)
        return Proposal(number, phase, recipe, tuple(variants))

    def _draw(self, number: int) -> Recipe | None:
        favourite: dict[str, Any] = {}
        for attempt in range(GUIDED_DRAWS + VARIED_DRAWS):
            if attempt == 0 and number <= len(self._start):
                self._optuna.enqueue_trial(dict(self._start[number - 1]))
            if attempt < GUIDED_DRAWS:
                trial = self._optuna.ask()
                tricks = self._space.draw(_Ask(trial))
                favourite = trial.params
            else:
                change = min(1.0, 0.1 + 2 * (attempt - GUIDED_DRAWS) / VARIED_DRAWS)
                trial, tricks = None, self._space.draw(_Vary(favourite, change, self._random))
            recipe = self._base.model_copy(update={"tricks": tricks})
            if recipe.key not in self._seen:
                if trial is None:
                    self._optuna.enqueue_trial(self._space.parameters(tricks) or {})
                    trial = self._optuna.ask()
                    self._space.draw(_Ask(trial))
                self._asked[number] = trial
                return recipe
            if trial is not None:
                self._optuna.tell(trial, state=TrialState.FAIL)
        return None

    def _remember(self, record: Record) -> None:
        parameters = self._space.parameters(record.tricks)
        told = self._told(record)
        if parameters is None or not (told or record.status == STOPPED):
            return
        ask = _Replay(parameters)
        self._space.draw(ask)
        self._optuna.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE if told else TrialState.PRUNED,
                params=parameters,
                distributions=ask.distributions,
                values=self._values(record) if told else None,
            )
        )

    def _told(self, record: Record) -> bool:
        """Whether it has a value for each objective; what a platform cannot tell is None in a finished record too."""
        return record.finished and all(getattr(record, name) is not None for name in self._study.objectives)

    def _values(self, record: Record) -> list[float]:
        values = [float(getattr(record, name)) for name in self._study.objectives]
        if not all(math.isfinite(value) for value in values):
            raise ValueError(f"trial {record.trial} is recorded as finished with the values {values}")
        return values


def _sampler(study: Study, told: int) -> optuna.samplers.BaseSampler:
    # A resumed search must not draw again what the interrupted one drew, so its stream depends on where it starts.
    digest = hashlib.sha256(f"{study.search.seed}:{told}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    if study.search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if study.search.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=20, seed=seed)
    with warnings.catch_warnings():
        # `group`, which models together the parameters that are drawn together, is marked as experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, n_startup_trials=study.search.startup, seed=seed
        )


class _Ask:
    """Draws from an Optuna trial."""

    def __init__(self, trial: optuna.trial.Trial) -> None:
        self._trial = trial

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        return self._trial.suggest_float(name, low, high, log=log)

    def int(self, name: str, low: int, high: int, log: bool) -> int:
        return self._trial.suggest_int(name, low, high, log=log)

    def categorical(self, name: str, options: Sequence[Any]) -> Any:
        return self._trial.suggest_categorical(name, options)


class _Vary:
    """Keeps most of known parameters and draws the others uniformly at random."""

    def __init__(self, known: Mapping[str, Any], change: float, source: random.Random) -> None:
        self._known, self._change, self._random = known, change, source

    def _keeps(self, name: str) -> bool:
        return name in self._known and self._random.random() >= self._change

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        if self._keeps(name):
            value: float = self._known[name]
            return value
        if log:
            return min(high, max(low, math.exp(self._random.uniform(math.log(low), math.log(high)))))
        return self._random.uniform(low, high)

    def int(self, name: str, low: int, high: int, log: bool) -> int:
        if self._keeps(name):
            value: int = self._known[name]
            return value
        return self._random.randint(low, high)

    def categorical(self, name: str, options: Sequence[Any]) -> Any:
        return self._known[name] if self._keeps(name) else self._random.choice(list(options))


class _Replay:
    """Answers with known parameters, and notes the distribution of each."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self.distributions: dict[str, BaseDistribution] = {}

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        self.distributions[name] = FloatDistribution(low, high, log=log)
        value: float = self._parameters[name]
        return value

    def int(self, name: str, low: int, high: int, log: bool) -> int:
        self.distributions[name] = IntDistribution(low, high, log=log)
        value: int = self._parameters[name]
        return value

    def categorical(self, name: str, options: Sequence[Any]) -> Any:
        self.distributions[name] = CategoricalDistribution(options)
        return self._parameters[name]
