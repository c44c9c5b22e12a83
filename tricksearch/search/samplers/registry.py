"""Samplers by name."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence

import optuna

from tricksearch.search.samplers.base import Sampler
from tricksearch.search.samplers.guided import GuidedSearch
from tricksearch.search.samplers.optuna_samplers import OptunaSampler
from tricksearch.search.samplers.simple import GridSearch, LocalSearch, QuasiRandom, RandomSearch
from tricksearch.search.space.layout import Layout


def make_sampler(
    name: str, layout: Layout, maximize: Sequence[bool], *, seed: int = 0, startup: int = 12, known: int = 0
) -> Sampler:
    """The sampler of this name; `known` is the number of records of an interrupted search that it will be told.

    `maximize[j]` says whether more of objective j is better. Raises KeyError for an unknown name.
    """
    return SAMPLERS[name](layout, maximize, seed, startup, known)


def _optuna(make: Callable[[int, int], optuna.samplers.BaseSampler]) -> Callable[..., Sampler]:
    def made(layout: Layout, maximize: Sequence[bool], seed: int, startup: int, known: int) -> Sampler:
        # A resumed search must not draw again what the interrupted one drew, so its stream depends on where it starts.
        stream = int.from_bytes(hashlib.sha256(f"{seed}:{known}".encode()).digest()[:4], "big")
        with warnings.catch_warnings():
            # TPE's `group`, which models together what is drawn together, is marked as experimental, as are others.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return OptunaSampler(layout, maximize, seed, startup, make(stream, startup))

    return made


SAMPLERS: Mapping[str, Callable[..., Sampler]] = {
    "auto": lambda layout, maximize, seed, startup, known: GuidedSearch(layout, maximize, seed, startup),
    "tpe": _optuna(
        lambda seed, startup: optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, n_startup_trials=startup, seed=seed
        )
    ),
    "nsga2": _optuna(lambda seed, startup: optuna.samplers.NSGAIISampler(population_size=20, seed=seed)),
    "nsga3": _optuna(lambda seed, startup: optuna.samplers.NSGAIIISampler(population_size=20, seed=seed)),
    "gp": _optuna(
        lambda seed, startup: optuna.samplers.GPSampler(
            n_startup_trials=startup, seed=seed, warn_independent_sampling=False
        )
    ),
    "random": lambda layout, maximize, seed, startup, known: RandomSearch(layout, maximize, seed, startup),
    "qmc": lambda layout, maximize, seed, startup, known: QuasiRandom(layout, maximize, seed, 0),
    "grid": lambda layout, maximize, seed, startup, known: GridSearch(layout, maximize, seed, 0),
    "local": lambda layout, maximize, seed, startup, known: LocalSearch(layout, maximize, seed, startup),
}
