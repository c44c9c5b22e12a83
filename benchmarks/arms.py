"""Ablations and screens at two budgets in which nothing is true that could be claimed: how often something is.

    python -m benchmarks arms [--studies 2000] [--processes 2]

Ablations: 6 or 10 tricks, none of which does anything, 2, 3 or 5 seeds an arm and a reference arm with as many as the
study gives it. Drift: a latency with 1 % of noise that grows by so much from the first run of the phase to the last.
Deviations: all arms alike, or all with a trick, half of them or one of them twice or three times as restless. In the
study's own order and with its own statistics; beside them, as it was before: arm after arm, and Welch's test.

Two budgets: ten tricks, five of which have an effect that is the same at both, screened at a short and at the full
budget, the latter with looks in between. Wrong is any claim that longer training changes an effect. Beside it the claim
that was made before, from a verdict at each budget. Where an effect differs by exactly the margin, wrong is "the same".
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.common import Row, print_rows
from benchmarks.support.studies import simulated_studies
from tricksearch.records.recipe import Recipe
from tricksearch.search.phases.ablate import REFERENCE_SEEDS
from tricksearch.search.phases.phase import PlannedRun, in_rounds
from tricksearch.search.phases.shifts import change_in_words, difference_looks, longer_minus_shorter
from tricksearch.verdicts.arms import Arms
from tricksearch.verdicts.decide import decide
from tricksearch.verdicts.designs import Design, choose
from tricksearch.verdicts.effects import main_effects
from tricksearch.verdicts.intervals import wilson
from tricksearch.verdicts.scale import margin_on_scale
from tricksearch.verdicts.sequential import Looks
from tricksearch.verdicts.student import two_sided
from tricksearch.verdicts.verdict import EQUIVALENT, HURTS, UNDECIDED, Verdict

Floats = NDArray[np.float64]

RATE = 0.05
NOISE = 0.01  # of a latency, a share
MARGIN = 0.2  # percent of a latency: so small that no claim passes as equivalent
SD, TRICKS = 0.235, 10  # of the screens: points
DEVIATIONS = ("equal", "all x 2", "all x 3", "half x 3", "one x 2", "one x 3")


@dataclass(frozen=True)
class Ablation:
    """An ablation all of whose tricks are placebos."""

    tricks: int
    seeds: int
    deviations: str = "equal"
    drift: float = 0.0  # share by which a value grows over the phase

    @property
    def name(self) -> str:
        """In words."""
        what = f"drift of {self.drift:.0%}" if self.drift else f"deviations {self.deviations}"
        return f"ablation of {self.tricks} tricks, {self.seeds} seeds, {what}"

    @property
    def sds(self) -> Floats:
        """Of each arm, the reference first."""
        many = {"equal": 0, "all": self.tricks, "half": self.tricks // 2, "one": 1}[self.deviations.split()[0]]
        factor = 1.0 if self.deviations == "equal" else float(self.deviations[-1])
        return NOISE * np.where((np.arange(self.tricks + 1) > 0) & (np.arange(self.tricks + 1) <= many), factor, 1.0)


@dataclass(frozen=True)
class Budgets:
    """Two screens, whose effects are the same but for `apart`, which the first trick has at the full budget alone."""

    runs: int
    effect: float  # points
    margin: float  # points
    apart: float = 0.0

    @property
    def name(self) -> str:
        """In words."""
        more = ", one of them apart by the margin" if self.apart else ""
        return f"two budgets, {self.runs} runs each, effects of {self.effect:g}, margin {self.margin:g}{more}"


ABLATIONS = (
    *(Ablation(6, 5, drift=drift) for drift in (0.0, 0.02, 0.1)),
    Ablation(6, 2, drift=0.1),
    *(Ablation(tricks, seeds, kind) for tricks in (6, 10) for seeds in (2, 3, 5) for kind in DEVIATIONS),
)
BUDGETS = (
    Budgets(48, 0.12, 0.2),
    Budgets(48, 0.2, 0.2),
    Budgets(96, 0.2, 0.3),
    Budgets(96, 0.12, 0.2),
    Budgets(96, 0.2, 0.2, apart=0.2),
)


def main(arguments: list[str]) -> list[Row]:
    """Print the share of wrong studies of each setting."""
    rows = []
    with simulated_studies("arms", 2000, arguments) as run:
        tasks = [(setting.name, functools.partial(ablation, setting)) for setting in ABLATIONS]
        tasks += [(setting.name, functools.partial(budgets, setting)) for setting in BUDGETS]
        for name, study in tasks:
            rows.append(row(name, run(study)))
            print(rows[-1].what, rows[-1].ours, rows[-1].peer, flush=True)
    print_rows("Studies with a wrong claim; the peer is how it was done before", rows)
    return rows


def row(name: str, pairs: Sequence[tuple[bool, bool]]) -> Row:
    """A setting's shares of wrong studies, ours with Wilson's interval."""
    n = len(pairs)
    ours, peer = (sum(column) for column in zip(*pairs, strict=True))
    low, high = wilson(ours, n)
    return Row(name, f"{ours / n:.1%} [{low:.1%}, {high:.1%}]", f"{peer / n:.1%}", "", "<= 5 %", f"{n} studies")


def ablation(setting: Ablation, seed: int) -> tuple[bool, bool]:
    """Whether a study is wrong, and whether it was as it was done before."""
    rng = np.random.default_rng([seed, setting.tricks, setting.seeds])
    arms = _planned(setting.tricks, setting.seeds)
    place = {run.mark: at for at, run in enumerate(in_rounds(arms, seed))}
    total = sum(map(len, arms))
    noise = [sd * rng.standard_normal(len(arm)) for sd, arm in zip(setting.sds, arms, strict=True)]
    runs = {
        str(at): [
            (place[run.mark], value + setting.drift * place[run.mark] / total)
            for run, value in zip(arm, own, strict=True)
        ]
        for at, (arm, own) in enumerate(zip(arms, noise, strict=True))
    }
    ours = Arms(runs)
    verdicts = decide(
        [ours.contrast(str(at), [(1, str(at)), (-1, "0")]) for at in range(1, setting.tricks + 1)],
        measure="latency_ms",
        relative=True,
        maximize=False,
        margin=MARGIN,
        confidence=1 - RATE,
        comparison="leave_one_out",
    )
    starts = np.cumsum([0, *map(len, arms)])
    before = [
        own + setting.drift * (start + np.arange(len(own))) / total for own, start in zip(noise, starts, strict=False)
    ]
    return any(verdict.says not in (UNDECIDED, EQUIVALENT) for verdict in verdicts), _welch(before)


@functools.cache
def _planned(tricks: int, seeds: int) -> list[list[PlannedRun]]:
    """The runs of each arm, the reference first, as many as an ablation gives it."""
    sizes = [min(ceil(seeds * sqrt(tricks)), REFERENCE_SEEDS * seeds), *[seeds] * tricks]
    recipes = [Recipe(tricks={f"trick{arm}": {}} if arm else {}) for arm in range(tricks + 1)]
    return [
        [PlannedRun("ablate", recipe, seed) for seed in range(size)]
        for recipe, size in zip(recipes, sizes, strict=True)
    ]


def _welch(arms: Sequence[Floats]) -> bool:
    """Whether Welch's test with Holm's levels shows a difference that the margin does not make equivalent."""
    reference, limit = arms[0], margin_on_scale(MARGIN, relative=True)
    shown = []
    for arm in arms[1:]:
        shares = np.array([arm.var(ddof=1) / len(arm), reference.var(ddof=1) / len(reference)])
        freedom = shares.sum() ** 2 / (shares**2 / [len(arm) - 1, len(reference) - 1]).sum()
        effect = arm.mean() - reference.mean()
        level = RATE / (len(arms) - 1)
        inside = two_sided((limit - abs(effect)) / sqrt(shares.sum()), freedom) / 2 <= level / 5
        p = float(two_sided(effect / sqrt(shares.sum()), freedom))
        shown.append(p <= level and not (inside and abs(effect) < limit))
    return any(shown)


def budgets(setting: Budgets, seed: int) -> tuple[bool, bool]:
    """The same for screens at two budgets."""
    rng = np.random.default_rng([seed, setting.runs])
    names = [f"trick_{number}" for number in range(TRICKS)]
    factors = [(name,) for name in names]
    design = _design(setting.runs)
    truth = np.where(np.arange(TRICKS) < TRICKS // 2, setting.effect, 0.0)
    short, short_values = _screen(design, seed, None, truth, rng)
    apart = np.where(np.arange(TRICKS) == 0, setting.apart, 0.0)
    at_short = main_effects(short, short_values, factors)
    judged = functools.partial(decide, measure="accuracy", relative=False, maximize=True, margin=setting.margin)
    shorter = judged(at_short, comparison="fidelity")
    runs: list[tuple[str, ...]] = []
    values: list[float] = []
    undecided: list[str] = names
    for number in range(len(design.sizes)):
        block, own = _screen(design, seed + 1, (number, undecided), truth + apart, rng)
        runs, values = runs + block, values + own
        shares = np.cumsum(design.sizes)[: number + 1] / sum(design.sizes)
        looks = Looks(tuple(shares.tolist()))
        at_full = main_effects(runs, values, factors)
        longer = judged(at_full, comparison="screen", looks=looks)
        undecided = [verdict.trick for verdict in longer if verdict.says == UNDECIDED]
        if not undecided:
            break
    differences = [longer_minus_shorter(*pair) for pair in zip(at_short, at_full, strict=True)]
    changes = judged(differences, comparison="budget", looks=difference_looks(looks))
    words = [change_in_words(*three) for three in zip(shorter, longer, changes, strict=True)]
    wrong = [word not in ("same", "undecided") for word in words]
    before = [_before(*pair) for pair in zip(shorter, longer, strict=True)]
    if setting.apart:
        wrong[0] = words[0] == "same" or changes[0].says == HURTS
        before[0] = False
    return any(wrong), any(before)


def _before(short: Verdict, full: Verdict) -> bool:
    """Whether a change was claimed from two verdicts: one equivalent, one not, or signs that differ."""
    if UNDECIDED in (short.says, full.says):
        return False
    return short.says != full.says


def _screen(
    design: Design,
    seed: int,
    block: tuple[int, list[str]] | None,
    truth: Floats,
    rng: np.random.Generator,
) -> tuple[list[tuple[str, ...]], list[float]]:
    """The runs and values of one block, or of the whole design."""
    blocks = range(len(design.sizes)) if block is None else [block[0]]
    runs = [tuple(run) for number in blocks for run in design.block(number, seed, block[1] if block else None)]
    on = np.array([[f"trick_{number}" in run for number in range(TRICKS)] for run in runs])
    return runs, (70.0 + on @ truth + SD * rng.standard_normal(len(runs))).tolist()


@functools.cache
def _design(runs: int) -> Design:
    return choose([(f"trick_{number}",) for number in range(TRICKS)], runs)
