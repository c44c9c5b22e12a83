"""A job: one trial, as it goes to whoever runs it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tricksearch.contract import InputError
from tricksearch.trial.bounds import Bound
from tricksearch.trial.cache import Cache
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.record import Record
from tricksearch.trial.rungs import Report
from tricksearch.trial.simulated import SimulationSettings, simulate


@dataclass(frozen=True)
class Job:
    """One trial to run, in plain JSON: all that crosses to a worker."""

    trial: int
    phase: str
    seed: int
    recipe: dict[str, Any]
    variants: list[dict[str, dict[str, Any]]]  # the tricks of the recipes that share its training
    bounds: list[dict[str, Any]]
    cache: str
    directory: str  # where the study was started: relative paths in the recipe start there
    memory_gib: float | None = None  # what its process may hold
    gpus: float | None = None  # the part of a GPU that is its own
    rungs: list[int] = field(default_factory=list)  # the epochs after which it tells how far it has come
    simulation: dict[str, Any] | None = None  # what to draw its measures from, where nothing is trained
    fresh: bool = False  # its latency is taken for it alone
    test: bool = False  # the test split is read

    def to_json(self) -> dict[str, Any]:
        """The job as a mapping."""
        return dict(vars(self))


def run_job(job: Job, report: Report = lambda progress: None) -> list[Record]:
    """Run one trial and its variants here, in the folder where the study was started. Raises InputError without it.

    `report` hears of the trial's rungs, and may raise Stopped.
    """
    if job.simulation is not None:
        return simulated(job)
    try:
        os.chdir(job.directory)
    except OSError as error:
        raise InputError(
            f"the folder where the study was started is not on the node '{socket.gethostname()}': {error}",
            remedy="start the command again in a folder that is there",
        ) from error
    return run_cached(job, Cache(Path(job.cache)), report)


def run_cached(job: Job, cache: Cache, report: Report = lambda progress: None) -> list[Record]:
    """Run one trial and its variants here, with the stages that this cache knows."""
    from tricksearch.trial.run import run_trial

    recipe = Recipe.model_validate(job.recipe)
    return run_trial(
        recipe,
        job.seed,
        cache=cache,
        variants=[recipe.model_copy(update={"tricks": tricks}) for tricks in job.variants],
        bounds=[Bound(**each) for each in job.bounds],
        number=job.trial,
        phase=job.phase,
        rungs=job.rungs,
        report=report,
        memory_gib=job.memory_gib,
        gpus=job.gpus,
        fresh=job.fresh,
        test=job.test,
    )


def simulated(job: Job) -> list[Record]:
    """The records of a job of which nothing is trained."""
    recipe = Recipe.model_validate(job.recipe)
    given = dict(job.simulation or {})
    return simulate(
        recipe,
        job.seed,
        SimulationSettings.model_validate(given["settings"]),
        number=job.trial,
        phase=job.phase,
        variants=[recipe.model_copy(update={"tricks": tricks}) for tricks in job.variants],
        epochs=given["epochs"],
        test=job.test,
    )
