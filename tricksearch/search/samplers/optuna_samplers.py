"""Optuna's samplers behind the interface of this package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseGASampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tricksearch.search.samplers.base import GUIDED_DRAWS, Outcome, varied
from tricksearch.search.space.layout import Layout, Parameter, Rows, Setting
from tricksearch.verdicts.designs import balanced

optuna.logging.set_verbosity(optuna.logging.WARNING)


class OptunaSampler:
    """One of Optuna's samplers, through ask and tell."""

    def __init__(
        self, layout: Layout, maximize: Sequence[bool], seed: int, startup: int, sampler: optuna.samplers.BaseSampler
    ) -> None:
        self._layout, self._seed = layout, seed
        self._directions = [StudyDirection.MAXIMIZE if up else StudyDirection.MINIMIZE for up in maximize]
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

    def take(self, setting: Setting, told_as: Setting | None = None) -> None:
        """Leave it open, so that a sampler that knows of open trials keeps away from it."""
        key = self._layout.key(setting)
        if self._last is None or self._last[0] != key:
            self._study.enqueue_trial(setting)
            self._last = (key, self._drawn()[0])
        self._asked[key if told_as is None else self._layout.key(told_as)] = self._last[1]
        self._last = None

    def tell(self, outcome: Outcome) -> None:
        """Close the open trial, or add one that was not asked for. What has no values is told as failed.

        One that was stopped is told as pruned, without a value: TPE takes it for worse than every finished one. One
        that was rejected is told with the margins by which it breaks constraints, in the form that the sampler reads.
        """
        if not outcome.comparable:
            return  # its values mean something else, and Optuna's samplers would take them as they are
        key = self._layout.key(outcome.setting)
        margins = {str(at): margin for at, margin in enumerate(outcome.margins) if margin is not None}
        state = TrialState.COMPLETE
        if outcome.values is None:
            rejected = any(margin > 0 for margin in margins.values())
            outcome, state = self._without_values(outcome, rejected)
        trial = self._asked.pop(key, None)
        if trial is None:
            if state is not TrialState.FAIL:
                self._add(key, outcome, state, margins)
            return
        for name, margin in margins.items() if state is not TrialState.FAIL else ():
            trial.set_constraint(name, margin)
        self._study.tell(trial, outcome.values, state=state)
        self._told[key] = trial.number

    def _without_values(self, outcome: Outcome, rejected: bool) -> tuple[Outcome, TrialState]:
        """How a trial without values is told."""
        sampler = self._study.sampler
        if rejected and isinstance(sampler, BaseGASampler):
            # It reads finished trials alone, and orders those that break a constraint by the margins alone.
            return replace(outcome, values=self._worst()), TrialState.COMPLETE
        if outcome.stopped or (rejected and isinstance(sampler, optuna.samplers.TPESampler)):
            return outcome, TrialState.PRUNED
        return outcome, TrialState.FAIL

    def _worst(self) -> tuple[float, ...]:
        """The worst value of each objective so far; 0 where there is none."""
        told = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        columns = zip(*(trial.values for trial in told), strict=True) if told else [(0.0,)] * len(self._directions)
        pairs = zip(columns, self._directions, strict=True)
        return tuple(min(column) if up is StudyDirection.MAXIMIZE else max(column) for column, up in pairs)

    def _generation(self) -> dict[str, Any]:
        """The attribute by which a genetic sampler counts a trial that it was not asked for, as it counts its own."""
        sampler = self._study.sampler
        if not isinstance(sampler, BaseGASampler):
            return {}
        key = sampler._get_generation_key()
        told = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        counts = Counter(trial.system_attrs[key] for trial in told if key in trial.system_attrs)
        latest = max(counts, default=0)
        return {key: latest + (counts[latest] >= (sampler.population_size or 1))}

    def _add(self, key: Hashable, outcome: Outcome, state: TrialState, margins: dict[str, float]) -> None:
        """Add a finished trial; where the setting has one already, in a study made anew, for none can be changed."""
        again = outcome.study == 0 and key in self._told
        before = self._study.get_trials(deepcopy=False)[self._told[key]].system_attrs if again else None
        added = optuna.trial.create_trial(
            state=state,
            params=outcome.setting,
            distributions=self._layout.domains(outcome.setting),
            values=outcome.values,
            constraints=margins,
            system_attrs=self._generation() if before is None else _generation_of(self._study.sampler, before),
        )
        if again:
            trials = self._study.get_trials(deepcopy=True)
            trials[self._told[key]] = added
            self._study = optuna.create_study(directions=self._directions, sampler=self._study.sampler)
            self._study.add_trials(trials)
            self._asked = {
                asked: optuna.trial.Trial(self._study, self._study.trials[trial.number]._trial_id)
                for asked, trial in self._asked.items()
            }
            return
        self._study.add_trial(added)
        if outcome.study == 0:
            self._told[key] = len(self._study.get_trials(deepcopy=False)) - 1

    def _drawn(self) -> tuple[optuna.trial.Trial, Setting]:
        trial = self._study.ask()
        return trial, self._layout.walk(lambda parameter: _suggested(trial, parameter))


def _generation_of(sampler: optuna.samplers.BaseSampler, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The generation that a trial had, which its new values leave as it was."""
    if not isinstance(sampler, BaseGASampler):
        return {}
    key = sampler._get_generation_key()
    return {key: attributes[key]} if key in attributes else {}


def _suggested(trial: optuna.trial.Trial, parameter: Parameter) -> Any:
    domain: Any = parameter.domain
    if parameter.options is not None:
        return trial.suggest_categorical(parameter.name, parameter.options)
    if parameter.count is not None:
        return trial.suggest_int(parameter.name, domain.low, domain.high, log=domain.log)
    return trial.suggest_float(parameter.name, domain.low, domain.high, log=domain.log)
