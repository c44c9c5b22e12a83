"""Samplers by name: each proposes settings of a layout, best first, and learns from what became of them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tricksearch.search.layout import Layout, Parameter, Rows, Setting
from tricksearch.verdicts.designs import balanced
from tricksearch.verdicts.front import front

optuna.logging.set_verbosity(optuna.logging.WARNING)

GUIDED_DRAWS = 10  # repeats in a row after which a sampler's favourite is varied at random instead
VARIED_DRAWS = 500  # repeats in a row, varied more and more, after which nothing new is left to draw


@dataclass(frozen=True)
class Outcome:
    """What became of a setting. A margin says by how much a constraint is broken: 0 and less keeps it."""

    setting: Setting
    values: tuple[float, ...] | None  # the objectives; None where the trial gave none
    margins: tuple[float | None, ...] = ()  # one for each constraint; None where it is not known
    stopped: bool = False  # it gave none because it was seen to be behind
    study: int = 0  # 0 is this study, others are earlier ones
    comparable: bool = True  # whether its values are on this study's scale

    @property
    def feasible(self) -> bool:
        """Whether it has values and is not known to break a constraint."""
        return self.values is not None and all(margin is None or margin <= 0 for margin in self.margins)


class Sampler(Protocol):
    """Proposes settings. Everything that it draws at random follows from its seed and the number of the trial."""

    def ask(self, number: int) -> Iterator[Setting]:
        """Settings for trial `number`, best first. The caller takes the first that is new to it."""

    def take(self, setting: Setting) -> None:
        """This setting is being tried."""

    def tell(self, outcome: Outcome) -> None:
        """Learn what became of a setting, taken or not. What is told again, a mean over seeds, replaces the first."""


class OwnSampler:
    """What the samplers of this package share: a memory, a balanced start, and changes of what is not new."""

    def __init__(self, layout: Layout, maximize: Sequence[bool], seed: int, startup: int) -> None:
        self.layout, self.maximize, self.seed = layout, tuple(maximize), seed
        self.told: list[Outcome] = []
        self._place: dict[Hashable, int] = {}  # of this study's outcomes among them
        self.pending: dict[Hashable, Setting] = {}
        self._start = balanced(layout.roots(), startup, seed)

    def ask(self, number: int) -> Iterator[Setting]:
        """The balanced start, then what the sampler proposes, then random changes of it."""
        random = np.random.default_rng([self.seed, number])
        favourite: Rows | None = None
        if 1 <= number <= len(self._start):
            proposed = self._settings(self.layout.random(GUIDED_DRAWS, random, fixed=self._start[number - 1]))
        else:
            proposed = self.propose(number, random)
        for setting in proposed:
            favourite = self.layout.row(setting) if favourite is None else favourite
            yield setting
        yield from varied(self.layout, favourite, random)

    def propose(self, number: int, random: np.random.Generator) -> Iterator[Setting]:
        """Settings, best first; at least one."""
        raise NotImplementedError

    def take(self, setting: Setting) -> None:
        """Keep it in mind until it is told."""
        self.pending[self.layout.key(setting)] = setting

    def tell(self, outcome: Outcome) -> None:
        """Remember it, in place of what was told of this setting before."""
        key = self.layout.key(outcome.setting)
        self.pending.pop(key, None)
        if outcome.study == 0 and self._place.setdefault(key, len(self.told)) < len(self.told):
            self.told[self._place[key]] = outcome
        else:
            self.told.append(outcome)

    def costs(self, outcomes: Sequence[Outcome]) -> Rows:
        """The objectives of outcomes that have values, (n, k), less being better."""
        values = np.array([each.values for each in outcomes], dtype=float).reshape(-1, len(self.maximize))
        return np.where(self.maximize, -values, values)

    def best(self) -> list[Outcome]:
        """The front of this study; where nothing keeps the constraints, what breaks them least."""
        own = [each for each in self.told if each.study == 0 and each.values is not None]
        kept = [each for each in own if each.feasible]
        if not kept and own:
            worst = [max((margin for margin in each.margins if margin is not None), default=0.0) for each in own]
            kept = [own[at] for at in np.argsort(worst, kind="stable")[:5]]
        members = front(self.costs(kept).tolist(), [False] * len(self.maximize))
        return [kept[at] for at in members]

    def _settings(self, rows: Rows) -> Iterator[Setting]:
        return (self.layout.setting(row) for row in rows)


class RandomSearch(OwnSampler):
    """Uniformly at random; Bergstra and Bengio 2012."""

    def propose(self, number: int, random: np.random.Generator) -> Iterator[Setting]:
        """Random settings."""
        return self._settings(self.layout.random(GUIDED_DRAWS, random))


class LocalSearch(OwnSampler):
    """Pareto local search: a member of the front with one parameter changed; Paquete et al. 2004."""

    def propose(self, number: int, random: np.random.Generator) -> Iterator[Setting]:
        """Neighbours of front members; random settings where there is no front."""
        return self._settings(self.neighbours(random))

    def neighbours(self, random: np.random.Generator) -> Rows:
        """Members of the front, drawn at random, each with one parameter changed."""
        members = self.best()
        if not members:
            return self.layout.random(GUIDED_DRAWS, random)
        rows = np.array([self.layout.row(each.setting) for each in members])
        return self.layout.changed(rows[random.integers(0, len(rows), 5 * GUIDED_DRAWS)], 1, random)


class QuasiRandom(OwnSampler):
    """The scrambled sequence of Sobol, which covers the space more evenly than random draws; Sobol 1967, Owen 1998."""

    def propose(self, number: int, random: np.random.Generator) -> Iterator[Setting]:
        """The number-th point of the sequence."""
        from scipy.stats import qmc

        sequence = qmc.Sobol(max(1, len(self.layout)), rng=np.random.default_rng(self.seed))
        if number:
            sequence.fast_forward(number)
        point = iter(sequence.random(1)[0])
        yield self.layout.walk(lambda each: each.at(float(next(point))))


class GridSearch(OwnSampler):
    """Every combination of options, and of three values of each range, in a fixed order that soon spreads widely."""

    def ask(self, number: int) -> Iterator[Setting]:
        """From the number-th point of the grid on, round to where it began."""
        total, nth = self.layout.grid()
        step = _coprime(total)
        return (nth((self.seed + (number + ahead) * step) % total) for ahead in range(total))


class OptunaSampler:
    """One of Optuna's samplers, through ask and tell."""

    def __init__(
        self, layout: Layout, maximize: Sequence[bool], seed: int, startup: int, sampler: optuna.samplers.BaseSampler
    ) -> None:
        self._layout, self._seed = layout, seed
        self._directions = [StudyDirection.MAXIMIZE if each else StudyDirection.MINIMIZE for each in maximize]
        self._study = optuna.create_study(directions=self._directions, sampler=sampler)
        self._told: dict[Hashable, int] = {}  # the number of the trial that holds a setting's outcome
        self._start = balanced(layout.roots(), startup, seed)
        self._asked: dict[Hashable, optuna.trial.Trial] = {}
        self._last: tuple[Hashable, optuna.trial.Trial] | None = None

    def ask(self, number: int) -> Iterator[Setting]:
        """The balanced start, then what the sampler proposes, then random changes of it."""
        if 1 <= number <= len(self._start):
            self._study.enqueue_trial(dict(self._start[number - 1]))
        favourite: Rows | None = None
        for _ in range(GUIDED_DRAWS):
            trial, setting = self._drawn()
            self._last = (self._layout.key(setting), trial)
            favourite = self._layout.row(setting)
            yield setting
            self._last = None
            self._study.tell(trial, state=TrialState.FAIL)  # it was not taken
        yield from varied(self._layout, favourite, np.random.default_rng([self._seed, number]))

    def take(self, setting: Setting) -> None:
        """Leave it open, so that a sampler that knows of open trials keeps away from it."""
        key = self._layout.key(setting)
        if self._last is None or self._last[0] != key:
            self._study.enqueue_trial(setting)
            self._last = (key, self._drawn()[0])
        self._asked[key] = self._last[1]
        self._last = None

    def tell(self, outcome: Outcome) -> None:
        """Close the open trial, or add one that was not asked for. What has no values is told as failed.

        One that was stopped is told as pruned, without a value: TPE takes it for worse than every finished one.
        """
        if not outcome.comparable:
            return  # its values mean something else, and Optuna's samplers would take them as they are
        key = self._layout.key(outcome.setting)
        margins = {str(at): margin for at, margin in enumerate(outcome.margins) if margin is not None}
        state = TrialState.COMPLETE
        if outcome.values is None:
            state = TrialState.PRUNED if outcome.stopped else TrialState.FAIL
        trial = self._asked.pop(key, None)
        if trial is None:
            if state is not TrialState.FAIL:
                self._add(key, outcome, state, margins)
            return
        for name, margin in margins.items() if outcome.values is not None else ():
            trial.set_constraint(name, margin)
        self._study.tell(trial, outcome.values, state=state)
        self._told[key] = trial.number

    def _add(self, key: Hashable, outcome: Outcome, state: TrialState, margins: dict[str, float]) -> None:
        """Add a finished trial; where the setting has one already, in a study made anew, for none can be changed."""
        added = optuna.trial.create_trial(
            state=state,
            params=outcome.setting,
            distributions=self._layout.domains(outcome.setting),
            values=outcome.values,
            constraints=margins,
        )
        if outcome.study == 0 and key in self._told:
            trials = self._study.get_trials(deepcopy=True)
            trials[self._told[key]] = added
            self._study = optuna.create_study(directions=self._directions, sampler=self._study.sampler)
            self._study.add_trials(trials)
            self._asked = {
                each: optuna.trial.Trial(self._study, self._study.trials[trial.number]._trial_id)
                for each, trial in self._asked.items()
            }
            return
        self._study.add_trial(added)
        if outcome.study == 0:
            self._told[key] = len(self._study.get_trials(deepcopy=False)) - 1

    def _drawn(self) -> tuple[optuna.trial.Trial, Setting]:
        trial = self._study.ask()
        return trial, self._layout.walk(lambda each: _suggested(trial, each))


def varied(layout: Layout, favourite: Rows | None, random: np.random.Generator) -> Iterator[Setting]:
    """Random changes of a row, more and more of them, and at last settings that are wholly random."""
    for draw in range(VARIED_DRAWS):
        changes = 1 + draw * len(layout) // VARIED_DRAWS
        if favourite is None or draw % 2:
            rows = layout.random(1, random)
        else:
            rows = layout.changed(favourite[None], changes, random)
        yield layout.setting(rows[0])


def make_sampler(
    name: str, layout: Layout, maximize: Sequence[bool], *, seed: int = 0, startup: int = 12, told: int = 0
) -> Sampler:
    """The sampler of this name; `told` is the number of records that it will be told of an interrupted search.

    `maximize[j]` says whether more of objective j is better. Raises KeyError for an unknown name.
    """
    return SAMPLERS[name](layout, maximize, seed, startup, told)


def _auto(layout: Layout, maximize: Sequence[bool], seed: int, startup: int, told: int) -> Sampler:
    from tricksearch.search.guided import GuidedSearch

    return GuidedSearch(layout, maximize, seed, startup)


def _optuna(make: Callable[[int, int], optuna.samplers.BaseSampler]) -> Callable[..., Sampler]:
    def made(layout: Layout, maximize: Sequence[bool], seed: int, startup: int, told: int) -> Sampler:
        # A resumed search must not draw again what the interrupted one drew, so its stream depends on where it starts.
        stream = int.from_bytes(hashlib.sha256(f"{seed}:{told}".encode()).digest()[:4], "big")
        with warnings.catch_warnings():
            # TPE's `group`, which models together what is drawn together, is marked as experimental, as are others.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return OptunaSampler(layout, maximize, seed, startup, make(stream, startup))

    return made


SAMPLERS: Mapping[str, Callable[..., Sampler]] = {
    "auto": _auto,
    "tpe": _optuna(
        lambda seed, startup: optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, n_startup_trials=startup, seed=seed
        )
    ),
    "nsga2": _optuna(lambda seed, startup: optuna.samplers.NSGAIISampler(population_size=20, seed=seed)),
    "nsga3": _optuna(lambda seed, startup: optuna.samplers.NSGAIIISampler(population_size=20, seed=seed)),
    "gp": _optuna(
        lambda seed, startup: optuna.samplers.GPSampler(
            n_startup_trials=startup, seed=seed, warn_independent_sampling=False
        )
    ),
    "random": lambda layout, maximize, seed, startup, told: RandomSearch(layout, maximize, seed, startup),
    "qmc": lambda layout, maximize, seed, startup, told: QuasiRandom(layout, maximize, seed, 0),
    "grid": lambda layout, maximize, seed, startup, told: GridSearch(layout, maximize, seed, 0),
    "local": lambda layout, maximize, seed, startup, told: LocalSearch(layout, maximize, seed, startup),
}


def _suggested(trial: optuna.trial.Trial, parameter: Parameter) -> Any:
    domain: Any = parameter.domain
    if parameter.options is not None:
        return trial.suggest_categorical(parameter.name, parameter.options)
    if parameter.count is not None:
        return trial.suggest_int(parameter.name, domain.low, domain.high, log=domain.log)
    return trial.suggest_float(parameter.name, domain.low, domain.high, log=domain.log)


def _coprime(total: int) -> int:
    """A step that visits every number below `total` once, and far apart: near the golden section of it."""
    step = max(1, round(total * 0.618))
    while np.gcd(step, total) != 1:
        step += 1
    return step
