"""The proposer: recipes to try, never one twice, from a sampler that knows every record there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tricksearch.records.averages import averaged, by_recipe, mean_of
from tricksearch.records.constraints import Constraint, baseline_of
from tricksearch.records.hardware import hardware, same_machine
from tricksearch.records.measures import MEASURES
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import FINISHED, REJECTED, STOPPED, Record
from tricksearch.search.phases.phase import Proposal, TrialNumbers
from tricksearch.search.phases.replicates import Replicate, settled
from tricksearch.search.samplers.base import Outcome
from tricksearch.search.samplers.registry import make_sampler
from tricksearch.search.space.space import Space
from tricksearch.study.study import Study

BASELINE_TRIES = 3  # of which the first to finish counts


class Proposer:
    """Proposes the plain baseline first, then the recipes that the study names, then what the sampler draws.

    The sampler's memory is rebuilt from the study's records, so a resumed search goes on where the last one stopped.
    `earlier` are the records of other studies, whose values may be on another scale; the sampler learns from them
    what fits this space. `untold` are records of this study that are told later; till then they count as running.
    """

    def __init__(
        self,
        study: Study,
        space: Space,
        records: Sequence[Record] = (),
        earlier: Sequence[Sequence[Record]] = (),
        untold: Sequence[Record] = (),
        numbers: TrialNumbers | None = None,
    ) -> None:
        self._study, self._space = study, space
        self._numbers = numbers or TrialNumbers(record.trial for record in (*records, *untold))
        self._base = study.base_recipe()
        self._seen: set[str] = set()
        self._baseline = baseline_of(averaged(records))
        self._constraints = [Constraint.parse(text) for text in study.constraints]
        self._same = _settings(self._base)
        self._sampler = make_sampler(
            study.search.sampler,
            space.layout(),
            study.goals.maximize,
            seed=study.search.seed,
            startup=study.search.startup,
            known=len(records),
        )
        self._machines = [record.hardware for record in (*records, *untold) if record.hardware]
        self._waiting: list[tuple[int, Record, Record | None]] = []  # of earlier studies: their number, and baseline
        for number, others in enumerate(earlier, start=1):
            means = averaged(others)
            self._waiting += [(number, record, baseline_of(means)) for record in means]
        self._learn_earlier()
        groups = by_recipe(records)
        leads = {run.trial: runs for runs in groups.values() for run in runs if run.variant == 0}
        for key, runs in groups.items():
            self._seen.add(key)
            if settled(study, leads[runs[0].trial]):
                self._remember(mean_of(runs), self._baseline)
            else:
                self._wait_for(runs[0])
        for record in untold:
            self._seen.add(record.recipe_key)
        plain = [record for record in (*records, *untold) if record.phase == "baseline" and not record.variant]
        self.begun = bool(plain)  # the baseline was tried
        self._plain_ended = [record.status for record in plain]  # how each try ended
        self._plain_asked: Proposal | None = None  # the try that runs
        self._untold = sorted(untold, key=lambda record: record.trial)

    def again(self, replicate: Replicate) -> Proposal:
        """A training to run once more, as a trial of its own."""
        recipe = Recipe.model_validate(replicate.lead.recipe)
        # A recipe's other seeds run to their end: a mean over those that did well would flatter it.
        return Proposal(
            self._numbers.take(), replicate.lead.phase, recipe, replicate.seed, replicate.variants, whole=True
        )

    def propose(self) -> Proposal | None:
        """The next recipe, or None where every recipe of the space has been tried."""
        number = self._numbers.lowest
        while self._untold and self._untold[0].trial < number:  # those behind it were not yet known to the sampler
            self._wait_for(self._untold.pop(0))
        if self._wants_baseline:
            return self._baseline_again()
        for tricks in self._study.search.first:
            setting = self._space.parameters(tricks)
            if setting is None:
                continue
            recipe = self._base.model_copy(update={"tricks": self._space.tricks_of(setting)})
            if recipe.key not in self._seen:
                self._sampler.take(setting)
                return self._proposal("search", recipe)
        for setting in self._sampler.ask(number):
            recipe = self._base.model_copy(update={"tricks": self._space.tricks_of(setting)})
            if recipe.key not in self._seen:
                self._sampler.take(setting, self._space.parameters(recipe.tricks))
                return self._proposal("search", recipe)
        return None

    @property
    def _wants_baseline(self) -> bool:
        """Whether the baseline is to be tried: every comparison, and each limit relative to it, needs it."""
        tried = self._plain_ended
        return self._plain_asked is None and FINISHED not in tried and len(tried) < BASELINE_TRIES

    def _baseline_again(self) -> Proposal:
        self.begun = True
        seed = self._study.search.seed + len(self._plain_ended)  # a store holds a recipe with a seed once
        self._plain_asked = replace(self._proposal("baseline", self._base), seed=seed)
        return self._plain_asked

    def baseline_ended(self, status: str) -> None:
        """Hear how a try of the baseline ended. The variants of one that failed may be drawn again."""
        self._plain_ended.append(status)
        if self._plain_asked is not None and status != FINISHED:
            self.release(self._plain_asked.variants)
        self._plain_asked = None

    def tell(self, record: Record) -> None:
        """Learn the outcome of a recipe, which may be the mean of its runs so far.

        A trial without values is told as failed, never as a number.
        """
        self._untold = [other for other in self._untold if other.recipe != record.recipe]
        self._baseline = baseline_of([record]) or self._baseline
        if record.hardware and not self._machines:
            self._machines.append(record.hardware)
            self._learn_earlier()
        self._remember(record, self._baseline)

    def _learn_earlier(self) -> None:
        """Tell the sampler of earlier studies, as far as it is known whether their values compare with this one's.

        Times do on the machine that the trials run on, which the first record tells. Before it, that is taken to be
        this one; what was measured elsewhere waits, for the trials may run elsewhere too.
        """
        waiting, self._waiting = self._waiting, []
        for number, record, baseline in waiting:
            if self._machines or self._on_same_machine(record):
                self._remember(record, baseline, number)
            else:
                self._waiting.append((number, record, baseline))

    def release(self, variants: Sequence[dict[str, dict[str, Any]]]) -> None:
        """Let variants that were not run after all be drawn again."""
        self._seen -= {self._base.model_copy(update={"tricks": tricks}).key for tricks in variants}

    def _proposal(self, phase: str, recipe: Recipe) -> Proposal:
        self._seen.add(recipe.key)
        variants = []
        for tricks in self._space.variants(recipe.tricks, self._study.variants):
            key = self._base.model_copy(update={"tricks": tricks}).key
            if key not in self._seen:
                self._seen.add(key)  # nobody else may try it meanwhile
                variants.append(tricks)
        return Proposal(self._numbers.take(), phase, recipe, self._study.search.seed, tuple(variants))

    def _wait_for(self, record: Record) -> None:
        setting = self._space.parameters(record.tricks)
        if setting is not None:
            self._sampler.take(setting)

    def _remember(self, record: Record, baseline: Record | None, study: int = 0) -> None:
        setting = self._space.parameters(record.tricks)
        if setting is not None:
            values, margins = self._values(record), self._margins(record, baseline)
            if study and values is None:
                return  # why it failed elsewhere need not hold here
            comparable = not study or self._comparable(record)
            margins = margins if comparable else (None,) * len(margins)
            self._sampler.tell(Outcome(setting, values, margins, record.status == STOPPED, study, comparable))

    def _comparable(self, record: Record) -> bool:
        """Whether another study's values are on this one's scale."""
        if _settings(Recipe.model_validate(record.recipe)) != self._same:
            return False
        measures = {*self._study.objectives, *(constraint.measure for constraint in self._constraints)}
        return not any(MEASURES[name].of_machine for name in measures) or self._on_same_machine(record)

    def _on_same_machine(self, record: Record) -> bool:
        """Whether its times compare with those of this study's trials."""
        measures = {*self._study.objectives, *(constraint.measure for constraint in self._constraints)}
        trained = "train_seconds" in measures and self._base.train.device != "cpu"
        device = "cuda" if trained or record.device_ms is not None else "cpu"
        return any(same_machine(record.hardware, machine, device) for machine in self._machines or [hardware()])

    def _values(self, record: Record) -> tuple[float, ...] | None:
        """Its objectives; None where it did not finish, or a platform could not tell one of them."""
        point = self._study.goals.point(record)
        if not record.finished or point is None:
            return None
        if not all(math.isfinite(value) for value in point):
            raise ValueError(f"trial {record.trial} is recorded as finished with the values {point}")
        return tuple(point)

    def _margins(self, record: Record, baseline: Record | None) -> tuple[float | None, ...]:
        """By how much it breaks each constraint, in that measure's unit."""
        if not record.finished and record.status != REJECTED:
            return (None,) * len(self._constraints)
        margins: list[float | None] = []
        for constraint in self._constraints:
            bound, value = constraint.bound(baseline), record.value(constraint.measure)
            if bound is None or value is None:
                margins.append(None)
            else:
                margins.append(value - bound.value if bound.at_most else bound.value - value)
        return tuple(margins)


def _settings(recipe: Recipe) -> dict[str, Any]:
    """What two recipes must have in common for their measures to be on one scale."""
    return recipe.model_dump(mode="json", include={"data", "net", "train", "latency"})
