"""The ablation: arms around one recipe, each really run with seeds of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from tricksearch.contract import InputError, Registry, discover, trick_name
from tricksearch.records.averages import averaged
from tricksearch.records.measures import MEASURES
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record
from tricksearch.search.phases.measures import arms_on, measures_of, verdicts_on
from tricksearch.search.phases.phase import PlannedRun, fresh_seed, in_rounds, mark_of
from tricksearch.search.phases.screen import Screen
from tricksearch.search.space.space import Space
from tricksearch.store.facts import ABLATION
from tricksearch.store.store import Store
from tricksearch.study.recipe_file import load_recipe
from tricksearch.study.study import Study
from tricksearch.verdicts.findings import Minimal
from tricksearch.verdicts.verdict import EQUIVALENT, HELPS, Verdict

REFERENCE_SEEDS = 3  # times the seeds of an arm, at most, for the two that all others are compared with

Tricks = Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """The recipe that is ablated, as it was chosen once."""

    asked: str
    record: str  # the id of its record, or the recipe's file
    tricks: dict[str, dict[str, Any]]
    order: list[str]  # of the ladder
    searched: int  # records of the search when it was chosen
    number: int = 0  # of the ablation: arms of another target ran in another state of the machine, and run again


class Ablation:
    """The arms around a recipe, and the verdicts from their records."""

    def __init__(self, study: Study, target: Target) -> None:
        self._study, self.target = study, target
        self._seeds = study.ablate.seeds
        self._recipes: dict[tuple[str, ...], Recipe] = {}
        whole = target.tricks
        self.without = {name: {other: whole[other] for other in whole if other != name} for name in whole}
        self.alone = {name: {name: whole[name]} for name in whole}
        self.steps = [{other: whole[other] for other in target.order[:count]} for count in range(len(target.order) + 1)]
        self.pairs = {(a, b): {a: whole[a], b: whole[b]} for a, b in combinations(sorted(whole), 2)}

    def plan(self, records: Sequence[Record]) -> list[PlannedRun]:
        """All arms, in rounds; when they have run, the minimal recipe and the whole one again, if they differ."""
        seed = fresh_seed(self._study.search.seed, "ablate", "order")
        plain = PlannedRun("baseline", self._study.base_recipe(), self._study.search.seed)
        wanted = [plain, *in_rounds([self._runs(tricks, seeds) for tricks, seeds in self._arms()], seed)]
        smallest = self.smallest(records)
        if smallest is not None and len(smallest) < len(self.target.tricks):
            both = [self._runs(tricks, 2 * self._seeds, "minimal") for tricks in (smallest, self.target.tricks)]
            wanted += in_rounds(both, seed)
        return wanted

    def verdicts(self, records: Sequence[Record]) -> list[Verdict]:
        """What each trick does when it is taken out of the whole, put on alone, or added on the ladder."""
        groups = self.groups(records)
        verdicts = []
        for measure in measures_of(self._study):
            arms = arms_on(measure, groups)
            for comparison, contrasts in self._contrasts().items():
                estimates = [arms.contrast(name, weights) for name, weights in contrasts]
                verdicts += verdicts_on(self._study, measure, estimates, comparison)
        return verdicts

    def compared(self) -> list[tuple[str, str]]:
        """The pairs of arms, by their keys, that are compared with each other."""
        every = [weights for contrasts in self._contrasts().values() for _, weights in contrasts]
        return list(dict.fromkeys((one[0][1], one[1][1]) for one in every if len(one) == 2))

    def groups(self, records: Sequence[Record]) -> dict[str, list[Record]]:
        """The finished runs of every arm, by its recipe's key."""
        return {self._key(tricks): self.runs(tricks, records) for tricks, _ in self._arms()}

    def _key(self, tricks: Tricks) -> str:
        return self._recipe(tricks).key

    def _recipe(self, tricks: Tricks) -> Recipe:
        """The recipe of an arm; its tricks have the values that the ablated recipe gives them."""
        names = tuple(sorted(tricks))
        if names not in self._recipes:
            self._recipes[names] = self._study.recipe(dict(sorted(tricks.items())))
        return self._recipes[names]

    def _contrasts(self) -> dict[str, list[tuple[str, list[tuple[float, str]]]]]:
        """What is compared in each of the comparisons that are asked for: a name, and arms with their weights."""
        whole, plain = self._key(self.target.tricks), self._key({})
        steps = [self._key(step) for step in self.steps]
        alone = {name: self._key(tricks) for name, tricks in self.alone.items()}
        every: dict[str, list[tuple[str, list[tuple[float, str]]]]] = {
            "leave_one_out": [(name, [(1, whole), (-1, self._key(tricks))]) for name, tricks in self.without.items()],
            "add_one_in": [(name, [(1, key), (-1, plain)]) for name, key in alone.items()],
            "ladder": [
                (name, [(1, after), (-1, before)])
                for name, before, after in zip(self.target.order, steps[:-1], steps[1:], strict=True)
            ],
            "pair": [
                (f"{a} + {b}", [(1, self._key(both)), (-1, alone[a]), (-1, alone[b]), (1, plain)])
                for (a, b), both in self.pairs.items()
            ],
        }
        asked = [arm.replace("pairs", "pair") for arm in self._study.ablate.arms]
        return {comparison: contrasts for comparison, contrasts in every.items() if comparison in asked}

    def runs(self, tricks: Tricks, records: Sequence[Record], kind: str = "arm") -> list[Record]:
        """The finished runs of an arm; with "minimal" those that were run to check it, with no part in its choice."""
        marks = {run.mark for run in self._runs(tricks, REFERENCE_SEEDS * self._seeds, kind)}
        return [
            record for record in records if record.finished and record.phase == "ablate" and mark_of(record) in marks
        ]

    def smallest(self, records: Sequence[Record]) -> dict[str, dict[str, Any]] | None:
        """The whole without the tricks that are shown to help on no objective.

        None where that was not asked for, and before all arms have run. A trick without which no run gave a result
        stays.
        """
        have = {mark_of(record) for record in records}
        arms = (run.mark for tricks, seeds in self._arms() for run in self._runs(tricks, seeds))
        if "leave_one_out" not in self._study.ablate.arms or not have.issuperset(arms):
            return None
        verdicts = [verdict for verdict in self.verdicts(records) if verdict.comparison == "leave_one_out"]
        needed = {
            verdict.trick for verdict in verdicts if verdict.says == HELPS and verdict.measure in self._study.objectives
        }
        needed |= {name for name, tricks in self.without.items() if not self.runs(tricks, records)}
        return {name: values for name, values in self.target.tricks.items() if name in needed}

    def minimal(self, records: Sequence[Record]) -> Minimal | None:
        """The minimal recipe and whether it does as well as the whole; None where no trick can be spared."""
        smallest = self.smallest(records)
        if smallest is None or len(smallest) == len(self.target.tricks):
            return None
        fresh = [record for record in records if record.phase == "confirm" and record.finished]
        sides: dict[str, list[Record]] = {}
        confirmed: dict[str, list[Record]] = {}
        for side, tricks in (("minimal", smallest), ("whole", self.target.tricks)):
            # No seed of these had a part in the choice, and both ran in the same rounds.
            sides[side] = self.runs(tricks, records, "minimal")
            confirmed[side] = [record for record in fresh if record.tricks == tricks]
        if all(confirmed.values()):  # of both equally many, from rounds of both
            sides = {side: [*runs, *confirmed[side]] for side, runs in sides.items()}
        verdicts: list[Verdict] = []
        for measure in self._study.objectives:
            estimate = arms_on(measure, self.groups(records) | sides).contrast(
                "minimal", [(1, "minimal"), (-1, "whole")]
            )
            verdicts += verdicts_on(self._study, measure, [estimate], "minimal")
        worse = [verdict.measure for verdict in verdicts if verdict.says not in (EQUIVALENT, HELPS)]
        return Minimal(
            around=self.target.record,
            recipe=self._study.recipe(smallest).model_dump(mode="json"),
            tricks=tuple(sorted(smallest)),
            dropped=tuple(sorted(set(self.target.tricks) - set(smallest))),
            verdicts=tuple(verdicts),
            holds=not worse,
            why=f"it is not shown to be as good in {' and '.join(worse)}" if worse else "",
        )

    def _arms(self) -> list[tuple[Tricks, int]]:
        asked = self._study.ablate.arms
        arms: list[tuple[Tricks, int]] = []
        others = len(self.target.tricks)
        arms.append((self.target.tricks, self._many(others if "leave_one_out" in asked else 1)))
        arms.append(({}, self._many(others if {"add_one_in", "pairs"} & set(asked) else 1)))
        if "leave_one_out" in asked:
            arms += [(tricks, self._seeds) for tricks in self.without.values()]
        if {"add_one_in", "pairs"} & set(asked):
            arms += [(tricks, self._seeds) for tricks in self.alone.values()]
        if "ladder" in asked:
            arms += [(tricks, self._seeds) for tricks in self.steps[1:-1]]
        if "pairs" in asked:
            arms += [(tricks, self._seeds) for tricks in self.pairs.values()]
        return arms

    def _many(self, others: int) -> int:
        """The runs of an arm that so many are compared with: sqrt(k) times theirs (Dunnett 1955)."""
        return min(math.ceil(self._seeds * math.sqrt(others)), REFERENCE_SEEDS * self._seeds)

    def _runs(self, tricks: Tricks, count: int, kind: str = "arm") -> list[PlannedRun]:
        recipe, number = self._recipe(tricks), self.target.number
        parts = (self._study.search.seed, kind, *((number,) if number else ()))
        return [
            PlannedRun("ablate", recipe, fresh_seed(*parts, self._seeds, recipe.key, place)) for place in range(count)
        ]


def ablate_plan(
    study: Study, space: Space, registry: Registry, store: Store, records: Sequence[Record]
) -> Callable[[Sequence[Record]], list[PlannedRun]]:
    """What an ablation wants to run; nothing where there is no recipe with a trick to ablate."""
    target = target_of(store) if store.fact(ABLATION) else None
    searched = sum(record.phase not in {"ablate", "confirm"} for record in records)
    edited = target is not None and _is_file(target.asked) and _chosen(study, records)[0] != target.tricks
    if target is None or target.asked != study.ablate.around or target.searched != searched or edited:
        tricks, record = _chosen(study, [record for record in records if record.phase not in {"ablate", "confirm"}])
        if not tricks:
            store.put_fact(ABLATION, None)  # the study no longer asks for what was ablated before
            return lambda records: []
        number = 0 if target is None else target.number + (target.tricks != tricks)
        order = _ordered(study, space, registry, tricks, records, store)
        target = Target(study.ablate.around, record, tricks, order, searched, number)
        store.put_fact(ABLATION, asdict(target))
    return Ablation(study, target).plan


def target_of(store: Store) -> Target | None:
    """The recipe that the study's ablation is around, or None where there was none yet."""
    fact = store.fact(ABLATION)
    return None if fact is None else Target(**fact)


def check_target(study: Study) -> None:
    """Raise InputError where the ablation is asked for around a recipe's file that cannot be read."""
    if "ablate" in study.phases and _is_file(study.ablate.around):
        recipe = load_recipe(Path(study.ablate.around))[0]
        unknown = [name for name in recipe.tricks if name not in discover(study.plugins)]
        if unknown:
            raise InputError(
                f"the recipe to ablate has the trick '{unknown[0]}', which the study does not know",
                place=study.ablate.around,
                remedy="name its folder under 'plugins' in the study",
            )


def _is_file(around: str) -> bool:
    return around.endswith((".yaml", ".yml"))


def _chosen(study: Study, records: Sequence[Record]) -> tuple[dict[str, dict[str, Any]], str]:
    """The tricks of the recipe that the study names, and its record's id or its file."""
    around = study.ablate.around
    if around in ("knee", "best"):
        first = study.objectives[0]
        front = study.goals.front(records)
        best = study.goals.knee(records) if around == "knee" else None
        if around == "best" and front:
            ahead = max if MEASURES[first].maximize else min
            best = ahead(front, key=lambda record: record.value(first) or 0.0)
        return (best.tricks, best.id) if best is not None else ({}, "")
    if _is_file(around):
        return load_recipe(Path(around))[0].tricks, around
    chosen = next((record for record in averaged(records) if record.id == around), None)
    if chosen is None:
        raise InputError(
            f"no record has the id '{around}', around which the ablation is asked for",
            place="ablate.around",
            remedy="write knee, best, the id of a record that 'tricksearch report' shows, or a recipe's file",
        )
    return chosen.tricks, chosen.id


def _ordered(
    study: Study, space: Space, registry: Registry, tricks: Tricks, records: Sequence[Record], store: Store
) -> list[str]:
    """The ladder's order, which no run of the ladder itself may decide: by the screen, else as the tricks act."""
    order = [trick_name(type(trick)) for trick in study.recipe(tricks).build_tricks(registry)]
    try:
        screened = Screen(study, space, store).verdicts(records)[0]
    except InputError:  # it was laid out for other tricks
        return order
    first = study.objectives[0]
    sign = 1 if MEASURES[first].maximize else -1
    merit = {
        verdict.trick: sign * verdict.effect
        for verdict in screened
        if verdict.measure == first and verdict.effect is not None
    }
    return sorted(order, key=lambda name: -merit.get(name, 0.0))
