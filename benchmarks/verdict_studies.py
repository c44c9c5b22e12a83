"""Verdicts on simulated studies whose truth is known: how often they are wrong, how often they see what is there.

    python -m benchmarks verdict_studies [--studies 10000] [--processes 2]

Ten tricks, of which some are worth 0.2 points and the others nothing; runs differ by sd 0.235 (CIFAR's seed noise). The
screen's own design, looks, estimates and verdicts, block after block, until all tricks are decided or the runs are used
up. A study is wrong if it says helps or hurts of any placebo, or equivalent or hurts of any planted trick, whose effect
is exactly the margin.

Rows beside them: what an oracle would see that knew the number of placebos, and the variance, used all runs and divided
the error rate among the placebos (Bonferroni): hardly any test with this error rate that looks at one trick at a time
sees more. One trick at a time: each against a common baseline, by the runs that both need at the level of one trick in
ten (Bonferroni) for the same power.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from benchmarks.support.common import Row, print_rows, ratio
from benchmarks.support.studies import simulated_studies
from tricksearch.verdicts.decide import decide
from tricksearch.verdicts.designs import Design, choose
from tricksearch.verdicts.effects import main_effects
from tricksearch.verdicts.planning import one_at_a_time, planned_power, runs_needed
from tricksearch.verdicts.sequential import Looks

TRICKS = tuple(f"trick_{number}" for number in range(10))
FACTORS = [(trick,) for trick in TRICKS]
SD, EFFECT = 0.235, 0.2  # points of accuracy
RATE = 0.05


@dataclass(frozen=True)
class Setting:
    """What is planted: the first tricks are worth EFFECT."""

    name: str
    planted: int
    runs: int = 60
    # The noise of runs with the last trick; without it, so much less that the mean variance is SD squared.
    sd_on: float = SD
    pair: float = (
        0.0  # points, up where the first and the last trick are both on or both off, else down: a synergy of 4 times it
    )

    @property
    def effects(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Each trick's effect, averaged over all others."""
        return np.where(np.arange(len(TRICKS)) < self.planted, EFFECT, 0.0)


SETTINGS = (
    Setting("5 planted, 5 placebos", 5),
    Setting("8 planted, 2 placebos", 8),
    Setting("10 placebos", 0),
    Setting("5 + 5, unequal variances and a pair", 5, sd_on=0.3, pair=0.05),
    Setting("5 + 5, at most 80 runs", 5, runs=80),
)


@dataclass(frozen=True)
class Study:
    """How one study ended."""

    wrong: bool
    seen: int  # planted tricks that are said to help
    cleared: int  # placebos that are said to be equivalent
    covered: int  # of the single intervals
    alone: int  # planted tricks whose single interval excludes 0: what one trick looked at by itself would show
    jointly: bool  # all adjusted intervals hold
    runs: int


def main(arguments: list[str]) -> list[Row]:
    """Print the figures of each setting."""
    with simulated_studies("verdict_studies", 10_000, arguments) as run:
        rows = [textbook()]
        for setting in SETTINGS:
            rows += summary(setting, run(functools.partial(simulate, setting)))
    print_rows("Verdicts on simulated studies of ten tricks", rows)
    return rows


def simulate(setting: Setting, seed: int) -> Study:
    """One study, through the screen's own design and statistics."""
    rng = np.random.default_rng([seed, setting.planted])
    design = _design(setting.runs)
    truth = setting.effects
    sd_off = sqrt(2 * SD**2 - setting.sd_on**2)
    runs: list[tuple[str, ...]] = []
    values: list[float] = []
    undecided: list[str] = list(TRICKS)
    for number in range(len(design.sizes)):
        block = design.block(number, seed, undecided)
        on = np.array([[trick in run for trick in TRICKS] for run in block])
        sds = np.where(on[:, -1], setting.sd_on, sd_off)
        pair = np.where(on[:, 0] == on[:, -1], setting.pair, -setting.pair)
        runs += block
        values += (70.0 + on @ truth + pair + sds * rng.standard_normal(len(block))).tolist()
        looked = np.cumsum(design.sizes)[: number + 1] / sum(design.sizes)
        verdicts = decide(
            main_effects(runs, values, FACTORS),
            measure="accuracy",
            relative=False,
            maximize=True,
            margin=EFFECT,
            confidence=1 - RATE,
            comparison="screen",
            looks=Looks(tuple(looked.tolist())),
        )
        undecided = [verdict.trick for verdict in verdicts if verdict.says == "undecided"]
        if not undecided:
            break
    says = [verdict.says for verdict in verdicts]
    planted, placebos = says[: setting.planted], says[setting.planted :]
    alone = [bool((v.low_alone or 0) <= true <= (v.high_alone or 0)) for v, true in zip(verdicts, truth, strict=True)]
    adjusted = [bool((v.low or 0) <= true <= (v.high or 0)) for v, true in zip(verdicts, truth, strict=True)]
    return Study(
        wrong=any(word in ("helps", "hurts") for word in placebos)
        or any(word in ("equivalent", "hurts") for word in planted),
        seen=planted.count("helps"),
        cleared=placebos.count("equivalent"),
        covered=alone.count(True),
        alone=sum((verdict.low_alone or 0) > 0 for verdict in verdicts[: setting.planted]),
        jointly=adjusted.count(True) == len(TRICKS),
        runs=len(runs),
    )


@functools.cache
def _design(runs: int) -> Design:
    return choose(FACTORS, runs)


def summary(setting: Setting, simulated: Sequence[Study]) -> list[Row]:
    """The rows of a setting."""
    n, placebos = len(simulated), len(TRICKS) - setting.planted
    studies = f"{n} studies"

    def share(what: str, counts: Sequence[int], of: int, target: str = "") -> Row:
        mean = np.mean(counts) / of
        # Tricks of one study share its noise, so the error is that of means over studies.
        error = np.std(counts) / of / sqrt(n)
        return Row(f"{setting.name}: {what}", f"{mean:.1%} ± {error:.1%}", target=target, n=studies)

    rows = [
        share("a wrong verdict in a study", [study.wrong for study in simulated], 1, "<= 5 %"),
        share("coverage of single intervals", [study.covered for study in simulated], len(TRICKS), "93-97 %"),
        share("all ten adjusted intervals hold", [study.jointly for study in simulated], 1),
    ]
    used = float(np.mean([study.runs for study in simulated]))
    if placebos:
        rows.append(share("placebos shown to be equivalent", [study.cleared for study in simulated], placebos))
    if not setting.planted:
        return rows
    power = float(np.mean([study.seen for study in simulated])) / setting.planted
    rows.append(share("planted effects shown", [study.seen for study in simulated], setting.planted, ">= 80 %"))
    rows.append(share("the same, not adjusted for ten tricks", [study.alone for study in simulated], setting.planted))
    if placebos:
        best = NormalDist().cdf(EFFECT / (2 * SD / sqrt(setting.runs)) - NormalDist().inv_cdf(1 - RATE / placebos / 2))
        rows.append(Row(f"{setting.name}: an oracle's bound on that, {setting.runs} runs", f"{best:.1%}"))
    total = sum(_design(setting.runs).sizes)
    peer = one_at_a_time(SD, EFFECT, len(TRICKS), 1 - RATE, planned_power(total, SD, EFFECT, len(TRICKS), 1 - RATE))
    rows.append(
        Row(
            f"{setting.name}: mean runs; one trick at a time, same power",
            f"{used:.1f}",
            str(peer),
            ratio(peer, used),
            f"<= {setting.runs} runs",
            f"power {power:.0%}",
        )
    )
    return rows


def textbook() -> Row:
    """Runs for 80 % power at the level of 5 % for each trick alone, as textbooks plan."""
    alone = 1 - RATE * len(TRICKS)  # which the division by the number of tricks turns into RATE
    ours, peer = (plan(SD, EFFECT, len(TRICKS), alone, 0.8) for plan in (runs_needed, one_at_a_time))
    return Row("runs for 80 % power, not adjusted for ten tricks", str(ours), str(peer), ratio(peer, ours))
