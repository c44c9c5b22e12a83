"""Guided Pareto local search, the default sampler: neighbours of the front, ranked by a model of every measure.

Candidates are changes of front members, crossings of two of them, and some random settings. For each measure, and for
each constraint, a Gaussian process says what to expect of a candidate; the one whose expected gain of dominated
hypervolume is largest, times its chance to keep the constraints, is tried next. The gain is taken by random
scalarization (Zhang and Golovin 2020, arXiv 2006.04655), which serves any number of objectives alike. Values are
modelled by their normal scores, so that a net that fell apart does not drown the differences between good ones. Now
and then a neighbour is drawn blindly, because a model that is wrong would never find out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import norm, rankdata
from threadpoolctl import ThreadpoolController

from tricksearch.search.samplers.base import Outcome
from tricksearch.search.samplers.gaussian_process import GaussianProcess
from tricksearch.search.samplers.simple import LocalSearch
from tricksearch.search.space.layout import Layout, Rows, Setting

BLIND = 0.15  # the share of trials that the model does not choose
NEIGHBOURS, FARTHER, CROSSED, ANYWHERE = 144, 48, 48, 24  # candidates of each kind
KNOWN = 200  # outcomes that the model holds at most: the front, the start, and the latest
BEYOND = 1.0  # the reference point lies so far behind the worst values of the front, as a share of its range
NARROW = 1.0  # a front whose range is less, in normal scores, counts as having this one
DIRECTIONS, SAMPLES = 32, 16
FIRST_FIT = 4  # outcomes
FIT_AGAIN = 1.15  # the model is fitted again when it knows so many times as many outcomes


class GuidedSearch(LocalSearch):
    """Pareto local search with a model. See the module's docstring."""

    def __init__(self, layout: Layout, maximize: Sequence[bool], seed: int, startup: int) -> None:
        super().__init__(layout, maximize, seed, startup)
        self._models: dict[str, GaussianProcess] = {}
        self._fitted = 0  # outcomes that the models were fitted by

    def propose(self, number: int, random: np.random.Generator) -> Iterator[Setting]:
        """Candidates by their expected gain; blind neighbours once in a while, and as long as there is no front."""
        members = self.best()
        if not members or random.random() < BLIND:
            yield from self._settings(self.neighbours(random))
            return
        known = self._known(members)
        candidates = self._candidates(members, random)
        # Matrices of 200 rows are no work to share: threads would only take cores from the trials.
        with _threads().limit(limits=1, user_api="blas"):
            gain = self._gain(known, members, candidates, random)
        yield from self._settings(candidates[np.argsort(-gain, kind="stable")])

    def _known(self, members: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes that the model is built on."""
        if len(self.outcomes) <= KNOWN:
            return self.outcomes
        chosen = {id(member) for member in (*members[: KNOWN // 2], *self.outcomes[: KNOWN // 6])}
        for outcome in reversed(self.outcomes):
            if len(chosen) == KNOWN:
                break
            chosen.add(id(outcome))
        return [outcome for outcome in self.outcomes if id(outcome) in chosen]

    def _candidates(self, members: Sequence[Outcome], random: np.random.Generator) -> Rows:
        """Rows (m, d), none of them twice and none that was told or is being tried."""
        parents = self.rows(members)

        def drawn(n: int) -> Rows:
            return np.asarray(parents[random.integers(0, len(parents), n)])

        mask = random.random((CROSSED, len(self.layout))) < 0.5
        rows = np.concatenate(
            [
                self.layout.changed(drawn(NEIGHBOURS), 1, random),
                self.layout.changed(drawn(FARTHER // 2), 2, random),
                self.layout.changed(drawn(FARTHER // 2), 3, random),
                self.layout.settled(np.where(mask, drawn(CROSSED), drawn(CROSSED)), random),
                self.layout.random(ANYWHERE, random),
            ]
        )
        seen = set(_marks(self._with_pending(self.rows(self.outcomes))))
        fresh = {mark: at for at, mark in reversed(list(enumerate(_marks(rows)))) if mark not in seen}
        return rows[sorted(fresh.values())] if fresh else rows[:1]

    def _with_pending(self, rows: Rows) -> Rows:
        return np.concatenate([rows, *(row[None] for row in self.pending.values())])

    def _gain(
        self, known: Sequence[Outcome], members: Sequence[Outcome], candidates: Rows, random: np.random.Generator
    ) -> Rows:
        """The expected gain of each candidate, (m,), up to a factor."""
        self._fit()
        points = self.layout.coded(self._with_pending(self.rows(known)))
        asked = self.layout.coded(candidates)
        chance = np.ones(len(candidates))
        for name, targets in self._limits(known).items():
            mean, spread, _ = self._predicted(name, targets, points, asked)
            chance *= norm.cdf(-mean / spread)
        scores = self._scores(known)
        inside = {id(member) for member in members if member.feasible}
        front = [at for at, outcome in enumerate(known) if id(outcome) in inside]
        means, spreads, believed = [], [], []
        for objective, targets in enumerate(scores.T):
            mean, spread, guess = self._predicted(f"value {objective}", targets, points, asked)
            means.append(mean)
            spreads.append(spread)
            believed.append(guess)
        if not front:
            return chance
        noise = random.standard_normal((SAMPLES, len(candidates), len(self.maximize)))
        samples = np.stack(means, axis=1) + np.stack(spreads, axis=1) * noise
        reached = np.concatenate([scores[front], np.stack(believed, axis=1)])
        return _hypervolume_gain(samples, reached, _reference(scores[front]), random) * chance

    def _fit(self) -> None:
        """Fit every model anew when enough has been told since.

        By what was told first, so many of it, from the same start: a search that was interrupted does the same.
        """
        fitted_on = FIRST_FIT
        while (then := max(fitted_on + 1, round(FIT_AGAIN * fitted_on))) <= len(self.outcomes):
            fitted_on = then
        if fitted_on == self._fitted or fitted_on > len(self.outcomes):
            return
        self._fitted, first = fitted_on, self.outcomes[:fitted_on]
        points = self.layout.coded(self.rows(first))
        measures = {f"value {at}": targets for at, targets in enumerate(self._scores(first).T)}
        for name, targets in (measures | self._limits(first)).items():
            finite = ~np.isnan(targets)
            self._models[name] = GaussianProcess(self.layout.nominal)
            if finite.any():
                self._models[name].fit(points[finite], targets[finite])

    def _scores(self, outcomes: Sequence[Outcome]) -> Rows:
        """The normal scores of the costs, (n, k), each study's among themselves; NaN for what has no values."""
        scores = np.full((len(outcomes), len(self.maximize)), np.nan)
        measured = np.array([at for at, outcome in enumerate(outcomes) if outcome.values is not None], dtype=int)
        costs = self.costs([outcomes[at] for at in measured])
        studies = np.array([0 if outcomes[at].comparable else outcomes[at].study for at in measured])
        for study in set(studies.tolist()):
            chosen = studies == study
            scores[measured[chosen]] = norm.ppf((rankdata(costs[chosen], axis=0) - 0.5) / int(chosen.sum()))
        return scores

    def _limits(self, known: Sequence[Outcome]) -> dict[str, Rows]:
        """For each constraint, and for giving no values, what is to stay below 0: (n,), NaN where it is not known."""
        limits: dict[str, Rows] = {}
        for at in range(max(len(outcome.margins) for outcome in known)):
            margins = np.array(
                [outcome.margins[at] if at < len(outcome.margins) else None for outcome in known], dtype=float
            )
            scale = np.nanmedian(np.abs(margins)) if np.isfinite(margins).any() else 0.0
            if scale > 0 and (margins > 0).any():
                limits[f"limit {at}"] = np.clip(margins / scale, -3, 3)
        failed = [
            outcome.values is None and all(not margin or margin <= 0 for margin in outcome.margins) for outcome in known
        ]
        if any(failed):
            limits["failure"] = np.where(failed, 1.0, -1.0)
        return limits

    def _predicted(self, name: str, targets: Rows, points: Rows, asked: Rows) -> tuple[Rows, Rows, Rows]:
        """Mean and deviation at the points that are asked for, (m,) each, and what is believed of the pending ones.

        `points` (n + p, d) are the known ones, with targets (n,), then the pending. What is being tried counts as if
        it had come out as expected, so that the next choice keeps away from it.
        """
        measured = np.flatnonzero(~np.isnan(targets))
        values, known, waiting = targets[measured], points[measured], points[len(targets) :]
        model = self._models.setdefault(name, GaussianProcess(self.layout.nominal))
        model.condition(known, values)
        believed = np.empty(0)
        if len(waiting):
            believed, _ = model.predict(waiting)
            model.condition(np.concatenate([known, waiting]), np.append(values, believed))
        mean, spread = model.predict(asked)
        return mean, spread, believed


@functools.cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _reference(scores: Rows) -> Rows:
    worst, best = scores.max(axis=0), scores.min(axis=0)
    return np.asarray(worst + BEYOND * np.maximum(worst - best, NARROW))


def _hypervolume_gain(samples: Rows, reached: Rows, reference: Rows, random: np.random.Generator) -> Rows:
    """How much more than the points `reached` (n, k) the samples (s, m, k) dominate, their mean over s: (m,).

    The hypervolume is, up to a constant, the mean over directions of the k-th power of how far the points reach into
    each direction from the reference.
    """
    k = reached.shape[1]
    directions = np.abs(random.standard_normal((DIRECTIONS, k)))
    if k == 2:  # spread evenly
        angles = (np.arange(DIRECTIONS) + random.random()) / DIRECTIONS * np.pi / 2
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    directions = np.maximum(directions / np.linalg.norm(directions, axis=1, keepdims=True), 0.01)

    def reach(points: Rows) -> Rows:
        return np.asarray((np.maximum(0, reference - points)[..., None, :] / directions).min(axis=-1))

    before = reach(reached).max(axis=0)
    return np.asarray(np.maximum(0, reach(samples) ** k - before**k).mean(axis=(0, 2)))


def _marks(rows: Rows) -> list[bytes]:
    """What rows (n, d) have in common that are the same."""
    return [row.tobytes() for row in np.round(np.nan_to_num(rows, nan=-1.0), 9)]
