"""The screen: a designed experiment over the tricks that are searched, each at its recommended values."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from tricksearch.contract import InputError
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record
from tricksearch.search.phases.measures import measures_of, relative, value_of, verdicts_on
from tricksearch.search.phases.phase import PlannedRun, fresh_seed, mark_of
from tricksearch.search.space.space import Space
from tricksearch.store.facts import SCREENS
from tricksearch.store.store import Store
from tricksearch.study.study import Study
from tricksearch.verdicts.designs import Design, choose
from tricksearch.verdicts.effects import main_effects, pair_effects
from tricksearch.verdicts.scale import on_scale
from tricksearch.verdicts.sequential import Looks
from tricksearch.verdicts.verdict import UNDECIDED, Estimate, Unknown, Verdict


@dataclass(frozen=True)
class Cell:
    """A run of the design: the searched tricks that are on, and how it was asked for."""

    tricks: tuple[str, ...]
    wanted: PlannedRun


class Screen:
    """The design of a study's screen, and its verdicts from the records of it.

    Raises InputError where the study allows too few runs for any design.
    """

    def __init__(self, study: Study, space: Space, store: Store | None = None) -> None:
        """With a store, what was laid out stays laid out, also where a margin is changed between two runs."""
        self._study, self._space, self._store = study, space, store
        self.factors = space.factors()
        try:
            self.design: Design = choose(self.factors, study.screen.runs, study.screen.design)
        except ValueError as error:
            raise InputError(
                f"the screen cannot be laid out: {error}",
                place="screen.runs" if study.screen.design == "auto" else "screen.design",
                remedy="allow more runs, search fewer tricks, or take 'screen' out of 'phases'",
            ) from None

    @property
    def _mark(self) -> str:
        """What tells this layout from every other one: a plan that is changed after a look is another experiment."""
        parts = [self.factors, self.design.sizes, self.design.kind, self._study.search.seed]
        looks = self._study.screen.sequential or len(self.design.sizes) == 1
        return json.dumps(parts if looks else [*parts, "looked at once"])

    @property
    def earlier(self) -> bool:
        """Whether there was a screen that was laid out otherwise."""
        return self._store is not None and any(mark != self._mark for mark in self._store.fact(SCREENS) or {})

    def plan(self, records: Sequence[Record]) -> list[PlannedRun]:
        """The baseline, the short screen where one is asked for, then block after block until all is decided."""
        wanted = [PlannedRun("baseline", self._study.base_recipe(), self._study.search.seed)]
        if self._study.screen.short_epochs is not None:
            wanted += [cell.wanted for cell in self.short()]
        for block in self._blocks(records):
            wanted += [cell.wanted for cell in block]
        return wanted

    def short(self) -> list[Cell]:
        """The runs at the short budget: the whole design once, whatever is decided."""
        return [cell for number in range(len(self.design.sizes)) for cell in self._cells(number, None, short=True)]

    def verdicts(self, records: Sequence[Record]) -> tuple[list[Verdict], list[Verdict]]:
        """On each trick, and on each pair where the design carries them, from all blocks that were completed.

        Where no block has been completed there are none.
        """
        whole, runs = self._whole(records), self.runs(records)
        looks = self._looks(len(whole))
        pairs = self._decided(runs, "interaction", None) if self.design.pairs else []
        return (self._decided(runs, "screen", looks) if whole else []), (pairs if whole else [])

    def runs(self, records: Sequence[Record]) -> list[tuple[tuple[str, ...], Record]]:
        """The finished runs of the blocks that were completed, with the tricks that were on."""
        return self.finished([cell for block in self._whole(records) for cell in block], records)

    def looks(self, records: Sequence[Record]) -> Looks | None:
        """The looks at the blocks that were completed; None where there is one look, at the end."""
        return self._looks(len(self._whole(records)))

    def own(self, records: Sequence[Record], whole: bool = False) -> list[Record]:
        """The runs of this layout, the failed ones included; with `whole` those of completed blocks."""
        blocks = self._whole(records) if whole else self._stored_blocks()
        marks = {cell.wanted.mark for block in blocks for cell in block}
        return [record for record in records if record.phase == "screen" and mark_of(record) in marks]

    def short_verdicts(self, records: Sequence[Record]) -> list[Verdict]:
        """On each trick at the short budget; none before all of its runs are there."""
        runs = self.short_runs(records)
        return self._decided(runs, "fidelity", None) if runs else []

    def short_runs(self, records: Sequence[Record]) -> list[tuple[tuple[str, ...], Record]]:
        """The finished runs at the short budget; none before all of them are there."""
        cells = self.short() if self._study.screen.short_epochs is not None else []
        return [] if self._missing(cells, records) else self.finished(cells, records)

    def finished(self, cells: Sequence[Cell], records: Sequence[Record]) -> list[tuple[tuple[str, ...], Record]]:
        """The cells whose runs finished, with their records."""
        known = {mark_of(record): record for record in records if record.finished}
        return [(cell.tricks, known[cell.wanted.mark]) for cell in cells if cell.wanted.mark in known]

    def _stored_blocks(self) -> Iterable[list[Cell]]:
        """The blocks that were laid out, complete or not."""
        return [self._cells(number, undecided) for number, undecided in enumerate(self._laid())]

    def _whole(self, records: Sequence[Record]) -> list[list[Cell]]:
        """The completed blocks; of those that were laid out, by whatever margins then, where there is a store."""
        blocks = self._stored_blocks() if self._store is not None else self._blocks(records)
        return [block for block in blocks if not self._missing(block, records)]

    def _laid(self) -> list[list[str] | None]:
        """Of each block that was laid out, the tricks that were undecided then; None: it is for all."""
        return list((self._store.fact(SCREENS) or {}).get(self._mark, [])) if self._store is not None else []

    def _lay(self, undecided: Collection[str] | None) -> None:
        if self._store is not None:
            laid = [*self._laid(), None if undecided is None else sorted(undecided)]
            self._store.put_fact(SCREENS, (self._store.fact(SCREENS) or {}) | {self._mark: laid})

    def _blocks(self, records: Sequence[Record]) -> Iterable[list[Cell]]:
        """The blocks so far, the last of which may be incomplete; lays out the next one where it is wanted."""
        undecided: Collection[str] | None = None
        done: list[Cell] = []
        for number in range(len(self.design.sizes)):
            laid = self._laid()
            undecided = laid[number] if number < len(laid) else undecided
            block = self._cells(number, undecided)
            if number >= len(laid):
                self._lay(undecided)
            yield block
            if self._missing(block, records):
                return
            done += block
            if self._study.screen.sequential and number + 1 < len(self.design.sizes):
                verdicts = self._decided(self.finished(done, records), "screen", self._looks(number + 1))
                undecided = {
                    verdict.trick
                    for verdict in verdicts
                    if verdict.says == UNDECIDED and verdict.measure in self._study.objectives
                }
                if not undecided and number + 1 >= len(self._laid()):
                    return

    def _cells(self, number: int, undecided: Collection[str] | None, short: bool = False) -> list[Cell]:
        study, phase = self._study, "fidelity" if short else "screen"
        base = study.base_recipe()
        if short:
            base = base.model_copy(
                update={"train": base.train.model_copy(update={"epochs": study.screen.short_epochs})}
            )
        cells = []
        rows = self.design.block(number, fresh_seed(study.search.seed, phase, "design"), undecided)
        for place, tricks in enumerate(rows):
            recipe = base.model_copy(update={"tricks": self._space.recommended(tricks)})
            seed = fresh_seed(study.search.seed, phase, self._mark, number, place)
            cells.append(Cell(tuple(tricks), PlannedRun(phase, recipe, seed)))
        return cells

    def _looks(self, blocks: int) -> Looks | None:
        """How far the screen has come when so many blocks are there; None where it looks once, at its end."""
        if not self._study.screen.sequential or len(self.design.sizes) == 1 or not blocks:
            return None
        total = sum(self.design.sizes)
        return Looks(tuple(sum(self.design.sizes[: number + 1]) / total for number in range(blocks)))

    @staticmethod
    def _missing(cells: Sequence[Cell], records: Sequence[Record]) -> bool:
        known = {mark_of(record) for record in records}
        return any(cell.wanted.mark not in known for cell in cells)

    def _decided(
        self, runs: Sequence[tuple[tuple[str, ...], Record]], comparison: str, looks: Looks | None
    ) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for measure in measures_of(self._study):
            estimates = self.estimates(runs, measure, pairs=comparison == "interaction")
            verdicts += verdicts_on(self._study, measure, estimates, comparison, looks)
        return verdicts

    def estimates(
        self, runs: Sequence[tuple[tuple[str, ...], Record]], measure: str, pairs: bool = False
    ) -> list[Estimate | Unknown]:
        """The effect of each trick, or of each pair, in these runs, which have the tricks that were on beside them."""
        known = [(tricks, value) for tricks, record in runs if (value := value_of(record, measure)) is not None]
        values = on_scale([value for _, value in known], relative(measure))
        tricks_on = [tricks for tricks, _ in known]
        if pairs:
            return pair_effects(tricks_on, values, self.factors)
        # Where the graph decides, tricks act on each other more than one run differs from the next.
        shaping = self._space.shaping if MEASURES[measure].foreseen else ()
        return main_effects(tricks_on, values, self.factors, shaping)


def screen_plan(study: Study, space: Space, store: Store) -> Callable[[Sequence[Record]], list[PlannedRun]]:
    """What a screen wants to run. Raises InputError where the study allows too few runs."""
    return Screen(study, space, store).plan
