"""Early stopping for several objectives: asynchronous successive halving of the stopping type.

After `min_epochs`, and after each `eta` times as many, a training comes to a rung. It goes on if it is among the best
1/eta of the trials that have come to this rung so far, itself included; no trial waits for another.

Papers: Li et al. 2020, arXiv 1810.05934 (ASHA); Schmucker et al. 2021, arXiv 2106.12639 (several objectives).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tricksearch.records.measures import MEASURES
from tricksearch.records.pareto import front
from tricksearch.study.settings import QUALITIES, StoppingSettings

BASELINE = 0  # the number of the trial that all others are compared with, and that is never stopped
Point = tuple[float, ...]


class Stopping:
    """Says at each rung whether a trial goes on. All that it knows is the reports, in whatever order they came."""

    def __init__(
        self,
        settings: StoppingSettings,
        objectives: Sequence[str],
        epochs: int,
        reports: Iterable[tuple[int, int, Mapping[str, float]]] = (),
    ) -> None:
        self._settings, self._epochs = settings, epochs
        self._objectives = tuple(dict.fromkeys("accuracy" if name in QUALITIES else name for name in objectives))
        self.rungs = settings.rungs(epochs)
        self._told: dict[int, dict[int, dict[str, float]]] = {}  # epoch -> trial -> measures
        for trial, epoch, measures in reports:
            self._told.setdefault(epoch, {})[trial] = dict(measures)

    def report(self, trial: int, epoch: int, measures: Mapping[str, float]) -> str | None:
        """Take in what a trial measures at a rung, in place of what it told there before.

        Returns None if it goes on, else the reason why it is stopped. A trial is compared by those objectives that
        it has measured, among the trials that have them too: by accuracy alone where nothing could be foreseen.
        """
        rung = self._told.setdefault(epoch, {})
        rung[trial] = dict(measures)
        if trial == BASELINE or epoch not in self.rungs:
            return None
        names = [name for name in self._objectives if name in measures]
        points = {
            number: tuple(reported[name] for name in names)
            for number, reported in rung.items()
            if all(name in reported for name in names)
        }
        if self._settings.rule == "accuracy_in_band":
            points = self._similar(points, points[trial], names)
            at = names.index("accuracy")
            ahead = sum(point[at] > points[trial][at] for point in points.values())
        else:
            ahead = ahead_of(trial, points, [MEASURES[name].maximize for name in names])
        rivals = len(points) - 1
        if rivals < self._settings.min_rivals or ahead < math.ceil(len(points) / self._settings.eta):
            return None
        have = " and ".join(_text(name, measures[name]) for name in names)
        similar = " of similar cost" if self._settings.rule == "accuracy_in_band" and len(names) > 1 else ""
        return (
            f"stopped after epoch {epoch} of {self._epochs}: with {have} it is behind {ahead} of the {rivals} "
            f"others{similar} that came so far"
        )

    def _similar(self, points: Mapping[int, Point], own: Point, names: Sequence[str]) -> dict[int, Point]:
        """The points whose costs are all within the band around one's own."""
        band = self._settings.band
        costs = [at for at, name in enumerate(names) if name != "accuracy"]
        return {
            number: point
            for number, point in points.items()
            if all(own[at] <= band * point[at] and point[at] <= band * own[at] for at in costs)
        }


def ahead_of(trial: int, points: Mapping[int, Point], maximize: Sequence[bool]) -> int:
    """How many trials stand before this one when all are ranked by non-dominated sorting; 0 for all of the front.

    Within a layer behind the front, the trial whose neighbour is farthest comes next (an epsilon-net), from the best
    by the first objective on, each objective scaled to the layer's range; of equals the smaller number.

    >>> ahead_of(3, {1: (97.0, 0.4), 2: (98.0, 0.5), 3: (96.0, 0.6)}, maximize=(True, False))
    2
    """
    left = sorted(points)
    ahead = 0
    while True:
        layer = [left[index] for index in front([points[number] for number in left], maximize)]
        if trial in layer:
            if not ahead:
                return 0
            return ahead + _spread([points[number] for number in layer], maximize).index(layer.index(trial))
        ahead += len(layer)
        gone = set(layer)
        left = [number for number in left if number not in gone]


def _spread(points: Sequence[Point], maximize: Sequence[bool]) -> list[int]:
    """The indices of the points (n, d), each next one the farthest from those before it."""
    values = np.asarray(points, dtype=np.float64)
    span = values.max(axis=0) - values.min(axis=0)
    scaled = (values - values.min(axis=0)) / np.where(span > 0, span, 1.0)
    order = [int((scaled[:, 0] if maximize[0] else -scaled[:, 0]).argmax())]
    nearest = np.full(len(values), np.inf)
    nearest[order[0]] = -1.0  # taken
    while len(order) < len(values):
        distance = np.linalg.norm(scaled - scaled[order[-1]], axis=1)
        nearest = np.where(nearest < 0, nearest, np.minimum(nearest, distance))
        order.append(int(nearest.argmax()))
        nearest[order[-1]] = -1.0
    return order


def _text(name: str, value: float) -> str:
    measure = MEASURES[name]
    return measure.text(value) if measure.unit else f"{measure.text(value)} {measure.noun}"
