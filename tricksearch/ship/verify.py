"""Verify: measure an exported folder again, and compare it with its record."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tricksearch.contract import InputError
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import NORMAL
from tricksearch.ship.folder import Exported, read_exported

if TYPE_CHECKING:
    from tricksearch.trial.measuring.scores import Scores
    from tricksearch.trial.measuring.stopwatch import Timing

TOLERANCE = 0.25  # of the record's ratio, beyond both intervals: as far as it moves with the state of one machine


@dataclass(frozen=True)
class Verified:
    """An exported folder as it was measured here."""

    exported: Exported
    scores: Scores
    timing: Timing | None  # None where the folder was exported by a version that timed without the plain net's file
    same_hardware: bool
    other_versions: dict[str, tuple[str, str]]  # package -> the version that was measured, the one here

    @property
    def accuracy_agrees(self) -> bool:
        """Whether the accuracy is the record's, to the last image."""
        return self.scores.accuracy == self.exported.record.accuracy

    @property
    def slower(self) -> int | None:
        """How the ratio to the plain net's latency compares with the record's, by TOLERANCE beyond both intervals.

        1 where it is slower here, -1 where it is faster, 0 where it is neither. None on other hardware, or where the
        folder carries nothing to compare with.
        """
        measured = self.exported.record.value("latency_ratio")
        if self.timing is None or not self.same_hardware or not measured:
            return None
        bounds = self.timing.bounds or (self.ratio, self.ratio)
        own = math.log(bounds[1] / bounds[0]) / 2
        error = NORMAL * (self.exported.record.latency_error or 0.0)
        apart = math.log(self.ratio / measured)
        if abs(apart) <= math.log1p(TOLERANCE) + own + error:
            return 0
        return 1 if apart > 0 else -1

    @property
    def ratio(self) -> float:
        """Of the latency to that of the plain net's file, both timed here."""
        if self.timing is None:
            return math.nan
        return self.timing.ratio if self.exported.runtime.device == "cpu" else self.timing.ms / self.timing.baseline_ms

    @property
    def agrees(self) -> bool:
        """Whether the folder keeps what its record says: a latency that is better than it does."""
        return self.accuracy_agrees and self.slower != 1


def verify_folder(folder: Path, note: Callable[[str], None] = lambda text: None) -> Verified:
    """Measure an exported folder with its own predict.py's `load`, on the validation images of its recipe.

    Raises InputError for a folder or for data that are not what was exported, TrialError where the model does not run.
    """
    exported = read_exported(folder)
    recipe = Recipe.model_validate(exported.record.recipe)

    from tricksearch.records.hardware import hardware, same_machine
    from tricksearch.trial.data.loaded import cached_data
    from tricksearch.trial.measuring.latency import timed_alone
    from tricksearch.trial.measuring.machine_lock import Machine
    from tricksearch.trial.measuring.runner import Runner
    from tricksearch.trial.measuring.scores import loaded_and_scored

    data = cached_data(recipe.data)
    if data.digest("validation") != exported.validation:
        there, measured = len(data.validation), exported.record.validation_images
        what = f"{there} images in place of {measured}" if there != measured else "as many, with other pixels or labels"
        raise InputError(
            f"the validation images are not those that the record was measured on: {what}",
            place=recipe.data.root or "data",
            remedy=f"put the data set '{recipe.data.name}' of the run back",
        )
    machine, runner = Machine(), Runner(data.validation.pixels.numpy())
    try:
        with machine.shared():
            note("measure")
            # As in a trial: the threads of its training for the accuracy, those of its stopwatch for the latency.
            scores = loaded_and_scored(
                runner, exported.runtime, exported.deployable, recipe.train, data.validation, machine.step_aside
            )
            note("time")
            timing = None
            if exported.baseline is not None:
                files = [(exported.runtime, exported.deployable)]
                (timing,) = timed_alone(runner, machine, files, exported.baseline, recipe.latency)
    finally:
        runner.close()
        machine.close()
    return Verified(
        exported,
        scores,
        timing,
        same_machine(hardware(), exported.record.hardware, exported.runtime.device),
        _other_versions(exported),
    )


def _other_versions(exported: Exported) -> dict[str, tuple[str, str]]:
    from importlib.metadata import PackageNotFoundError, version

    others = {}
    for name, measured in exported.packages.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "absent"
        if installed != measured:
            others[name] = (measured, installed)
    return others
