"""The search: recipes from a sampler, more runs of some of them, within the study's budgets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tricksearch.records.averages import mean_of
from tricksearch.records.record import FRONT_PHASES, SEARCH_PHASES, Record
from tricksearch.search.phases.batches import TrialBatch
from tricksearch.search.phases.budget import SearchBudget
from tricksearch.search.phases.phase import Proposal, TrialNumbers
from tricksearch.search.phases.proposer import Proposer
from tricksearch.search.phases.replicates import next_replicate, settled
from tricksearch.search.space.space import Space
from tricksearch.store.facts import LOST, SECONDS
from tricksearch.store.folder import read_records
from tricksearch.store.store import Store
from tricksearch.study.study import Study


class SearchPhase:
    """Hands out no more than the study's number of trials, those of earlier runs counted in."""

    def __init__(
        self,
        study: Study,
        space: Space,
        store: Store,
        records: Sequence[Record],
        numbers: TrialNumbers,
        workers: int = 1,
    ) -> None:
        """`records` are all that are stored; `workers` is the size of a batch, where the search is reproducible."""
        self.name, self.ended = "search", ""
        self._study, self._store, self._numbers = study, store, numbers
        own = [record for record in records if record.phase in SEARCH_PHASES]
        designed = {record.trial for record in records if record.phase != "search"}
        if len(designed) == sum(record.phase == "baseline" and not record.variant for record in records):
            designed = set()  # the search itself began with the baseline
        designed |= {record.trial for record in store.records_set_aside()} - {record.trial for record in records}
        self._batch = TrialBatch(study, store, workers)
        known, untold = self._batch.divided([record for record in records if record.phase in FRONT_PHASES], designed)
        earlier = [read_records(Path(place), study.store) for place in study.search.learn_from]
        self._proposer = Proposer(study, space, known, earlier, untold, numbers)
        self._ledger = SearchBudget(study, known, store.fact(SECONDS) or 0.0, store.fact(LOST))
        self._ledger.spend(store.records_set_aside())  # a budget holds over all that was run, whether it counts or not
        self._clock = time.monotonic()
        self._asked: dict[int, Proposal] = {}
        self._trials = {record.trial for record in own}
        self._dry = False  # there was nothing new to propose when it was asked last

    @property
    def done(self) -> int:
        """Trials that have been recorded."""
        return len(self._trials)

    @property
    def left(self) -> int:
        """New trials that may still be asked for; 0 when every recipe was tried: one that runs may give some back."""
        if self.ended or (self._dry and not self._asked):
            return 0
        return max(0, self._study.search.trials - self.done - len(self._asked))

    def next(self) -> Proposal | None:
        """The next trial: the baseline, another run of a recipe, or a new one."""
        if self.left == 0 or self._batch.full:
            return None
        self._ledger.seconds += self._passed()
        why = self._ledger.used_up()
        if why is not None:
            if not self._asked:  # what still runs may move the hypervolume
                self.ended = why
            return None
        proposal = None
        if self._proposer.begun:  # the baseline comes first
            replicate = next_replicate(self._study, self._ledger.groups, self._seeds_running())
            proposal = None if replicate is None else self._proposer.again(replicate)
        if proposal is None and not self._dry:
            proposal = self._proposer.propose()
        if proposal is None:
            self._dry = True
            return None
        self._batch.start(proposal.trial)
        self._asked[proposal.trial] = proposal
        return proposal

    def learn(self, records: Sequence[Record]) -> None:
        """Enter a trial, and tell the sampler of what its batch has brought."""
        self._asked.pop(records[0].trial, None)
        self._trials.add(records[0].trial)
        self._dry = False
        if records[0].phase == "baseline":
            self._proposer.baseline_ended(records[0].status)
        if self._study.search.hours is not None:
            self._ledger.seconds += self._passed()
            self._store.put_fact(SECONDS, self._ledger.seconds)
        for record in self._batch.finished(records):
            self._tell(record)

    def release(self, variants: Sequence[dict[str, dict[str, Any]]], seed: int) -> None:
        """Let variants that were not tried be proposed; those of another seed were tried before."""
        if seed == self._study.search.seed:
            self._proposer.release(variants)
            self._dry = False

    def lose(self, records: Sequence[Record] = (), epochs: int = 0) -> None:
        """Remember what an attempt cost of which no record will tell: a budget holds over every start of the study."""
        if records or epochs:
            self._store.put_fact(LOST, self._ledger.lose(records, epochs))

    def _tell(self, records: Sequence[Record]) -> None:
        self._ledger.add(records)
        if self._study.search.seeds == 1:
            groups = [[record] for record in records]
        else:
            groups = [self._ledger.groups[record.recipe_key] for record in records]
        for runs in groups:
            if settled(self._study, groups[0]):
                self._proposer.tell(mean_of(runs))

    def _passed(self) -> float:
        """Seconds since this was asked last."""
        before, self._clock = self._clock, time.monotonic()
        return self._clock - before

    def _seeds_running(self) -> dict[str, set[int]]:
        """The seeds of the trainings that are asked for and not learnt from yet, by the recipe's key."""
        if self._study.search.seeds == 1:
            return {}
        seeds: dict[str, set[int]] = {}
        for proposal in self._asked.values():
            seeds.setdefault(proposal.recipe.key, set()).add(proposal.seed)
        for record in self._batch.untold:
            seeds.setdefault(record.recipe_key, set()).add(record.seed)
        return seeds
