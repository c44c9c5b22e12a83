"""Optuna's samplers behind the interface of this package."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import optuna
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


def _suggested(trial: optuna.trial.Trial, parameter: Parameter) -> Any:
    domain: Any = parameter.domain
    if parameter.options is not None:
        return trial.suggest_categorical(parameter.name, parameter.options)
    if parameter.count is not None:
        return trial.suggest_int(parameter.name, domain.low, domain.high, log=domain.log)
    return trial.suggest_float(parameter.name, domain.low, domain.high, log=domain.log)
