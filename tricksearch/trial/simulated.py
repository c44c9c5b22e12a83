"""Simulated trials: records with planted effects and noise, for tests, for planning, and to see whether verdicts hold.

Nothing is trained and torch is not imported. Every record says so: its hardware is `{"cpu": "simulated"}`.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from tricksearch.contract import nearest
from tricksearch.records.hardware import versions
from tricksearch.records.measures import MEASURES
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import FINISHED, Record
from tricksearch.records.settings import Settings, problem
from tricksearch.trial.job import Job

if TYPE_CHECKING:
    import numpy as np

IMAGES = 10_000  # what a simulated accuracy claims to be a share of
RUNS = 100  # calls that a simulated latency claims to be the median of
MACHINE = "simulated"

Number = Annotated[float, Field(allow_inf_nan=False)]


def _pair(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split("+"))


def _pairs(pairs: dict[str, float]) -> dict[str, float]:
    for text in pairs:
        if text.count("+") != 1 or len(_pair(text)) != 2 or "" in _pair(text):
            raise problem(f"'{text}' is no pair of tricks", "write two of them with a plus between: first + second")
    known = [_pair(text) for text in pairs]
    for text in pairs:
        if known.count(_pair(text)) > 1:
            raise problem(f"the pair '{text}' is given twice", "give each pair once, in either order")
    return pairs


class SimulatedMeasure(Settings):
    """One measure: points for accuracy and f1, which add up; percent of the value for all others, which multiply."""

    base: Number = Field(gt=0, description="without any trick")
    sd: Number = Field(0.0, ge=0, description="of the noise from run to run")
    effects: dict[str, Number] = Field(default_factory=dict, description="of each trick")
    pairs: Annotated[dict[str, Number], AfterValidator(_pairs)] = Field(
        default_factory=dict, description="first + second: what comes on top where both are on"
    )
    sds: dict[str, Annotated[Number, Field(ge=0)]] = Field(
        default_factory=dict, description="by what the noise is multiplied where the trick is on"
    )


def _measures(measures: dict[str, SimulatedMeasure]) -> dict[str, SimulatedMeasure]:
    for name, measure in measures.items():
        _check_measure(name)
        if _in_points(name) and measure.base > 100:
            raise problem(f"the base of {name} is {measure.base:g}, which is above 100 %", "give it in percent")
        _check_percent(name, measure.effects | measure.pairs)
    return measures


def _short(short: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    for name in short:
        _check_measure(name)
    return short


def _check_measure(name: str) -> None:
    if name not in MEASURES:
        raise problem(f"there is no metric '{name}'", nearest(name, MEASURES))


def _check_percent(name: str, effects: Mapping[str, float]) -> None:
    for trick, effect in effects.items():
        if not _in_points(name) and effect <= -100:
            raise problem(
                f"{trick} changes {name} by {effect:g} percent, which leaves nothing of it",
                "effects on this measure are in percent of its value: give one above -100",
            )


def _in_points(measure: str) -> bool:
    return MEASURES[measure].percent


class SimulationSettings(Settings):
    """The world of simulated trials."""

    measures: Annotated[dict[str, SimulatedMeasure], AfterValidator(_measures)] = Field(
        default_factory=dict, description="those that are left out are the same in every trial"
    )
    short: Annotated[dict[str, dict[str, Number]], AfterValidator(_short)] = Field(
        default_factory=dict, description="added to the effects in trainings shorter than the study's"
    )
    optimism: Number = Field(0.0, description="accuracy on validation minus that on test, points")
    failures: Number = Field(0.0, ge=0, le=1, description="share of the trials that fail")
    seconds: Number = Field(0.0, ge=0, description="that a trial takes")

    @model_validator(mode="after")
    def _short_leaves_something(self) -> Self:
        for name, less in self.short.items():
            full = self._world(name).effects
            _check_percent(name, {trick: full.get(trick, 0.0) + shift for trick, shift in less.items()})
        return self

    def names(self) -> set[str]:
        """Every trick that an effect, a pair, a spread or a short training names."""
        names: set[str] = set()
        for measure in self.measures.values():
            names |= {*measure.effects, *measure.sds, *(name for text in measure.pairs for name in _pair(text))}
        return names.union(*self.short.values())

    def truth(self, measure: str, tricks: Collection[str], short: bool = False) -> float:
        """The value of a measure without noise, in its unit, where these tricks are on: what a verdict should find.

        Of a measure whose noise multiplies, it is the median.
        """
        world = self._world(measure)
        less = self.short.get(measure, {}) if short else {}
        shifts = [world.effects.get(name, 0.0) + less.get(name, 0.0) for name in sorted(tricks)]
        shifts += [shift for text, shift in world.pairs.items() if _pair(text) <= set(tricks)]
        if _in_points(measure):
            return world.base + math.fsum(shifts)
        return world.base * math.prod(1 + shift / 100 for shift in shifts)

    def spread(self, measure: str, tricks: Collection[str]) -> float:
        """The standard deviation of the noise where these tricks are on: points, or percent (of the logarithm)."""
        world = self._world(measure)
        return world.sd * math.prod(world.sds.get(name, 1.0) for name in tricks)

    def _world(self, measure: str) -> SimulatedMeasure:
        return self.measures.get(measure) or SimulatedMeasure(base=MEASURES[measure].simulated)


def simulate(job: Job) -> list[Record]:
    """What `run_trial` would give in this world: the trial's record, then one for each variant of its training.

    A recipe with fewer epochs than the study's trainings have is a short one, and takes less time. The same recipe,
    seed and number give the same records. Of a trial that fails there is one record.
    """
    given = dict(job.simulation or {})
    settings, epochs = SimulationSettings.model_validate(given["settings"]), given["epochs"]
    recipe, *variants = job.recipes()
    started, clock = datetime.now(UTC), time.perf_counter()
    if settings.seconds:
        time.sleep(settings.seconds)
    draw = _generator(recipe, job.seed, job.trial)
    failed = bool(draw.random() < settings.failures)
    rows = [{}] if failed else [_measured(recipe, settings, draw, epochs, job.test)]
    for variant in () if failed else variants:
        row = _measured(variant, settings, _generator(variant, job.seed, job.trial), epochs, job.test)
        row["measures"]["train_seconds"] = rows[0]["measures"]["train_seconds"]
        rows.append(row)
    return [
        Record(
            trial=job.trial,
            phase="search" if index else job.phase,
            variant=index,
            status="failed" if failed else FINISHED,
            reason="a simulated failure" if failed else "",
            seed=job.seed,
            recipe=form.model_dump(mode="json"),
            recipe_key=form.key,
            started=started.isoformat(timespec="seconds"),
            wall_seconds=round(time.perf_counter() - clock, 3) if index == 0 else 0.0,
            hardware={"cpu": MACHINE},
            versions=dict(versions()),
            reused=["train"] if index else [],
            spent_seconds=0.0 if index else row.get("measures", {}).get("train_seconds", 0.0),
            spent_epochs=0.0 if index or failed else float(form.train.epochs),
            **row,
        )
        for index, (form, row) in enumerate(zip((recipe, *variants), rows, strict=False))
    ]


def _generator(recipe: Recipe, seed: int, number: int) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(list(hashlib.sha256(f"{seed}:{recipe.key}:{number}".encode()).digest()))


def _measured(
    recipe: Recipe, settings: SimulationSettings, draw: np.random.Generator, epochs: int, test: bool
) -> dict[str, Any]:
    """Everything measured of one variant, as the fields of its record."""
    tricks, length = list(recipe.tricks), recipe.train.epochs
    short = length < epochs
    measures: dict[str, float] = {}
    # One draw for each measure, in a fixed order, whatever the settings say of the others.
    noise = dict(zip(MEASURES, draw.standard_normal(len(MEASURES)).tolist(), strict=True))
    for name, measure in MEASURES.items():
        value = _noisy(name, settings.truth(name, tricks, short), settings.spread(name, tricks), noise[name])
        measures[name] = round(value) if measure.whole else value
    measures["train_seconds"] *= length / epochs
    if "latency_ratio" not in settings.measures:
        measures["latency_ratio"] = measures["latency_ms"] / settings.truth("latency_ms", ())
    tested: dict[str, Any] = {}
    if test:
        truth = settings.truth("accuracy", tricks, short) - settings.optimism
        chance = float(draw.standard_normal())
        tested["test_accuracy"] = _noisy("accuracy", truth, settings.spread("accuracy", tricks), chance)
        tested["test_images"] = IMAGES
    return tested | {
        "measures": measures,
        "validation_images": IMAGES,
        "throughputs": {str(recipe.latency.batch): measures["throughput"]},
        "latency_runs": RUNS,
        "latency_note": MACHINE,
    }


def _noisy(measure: str, truth: float, spread: float, chance: float) -> float:
    if _in_points(measure):
        return min(100.0, max(0.0, truth + spread * chance))
    return truth * math.exp(spread / 100 * chance)
