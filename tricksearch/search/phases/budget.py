"""When the search ends: after so many trials, epochs, hours, or when it no longer finds anything better.

A study's other phases run as many trials as their designs want.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tricksearch.records.averages import by_recipe, mean_of
from tricksearch.records.record import SEARCH_PHASES, Record
from tricksearch.store.facts import LOST
from tricksearch.store.store import Store
from tricksearch.study.study import Study

BEHIND = 0.1  # how far behind the worst values the reference point lies, as a share of their range
MOVED = 1e-3  # the share by which the hypervolume has to grow to count as moved


class SearchBudget:
    """What a search has spent so far, and, where a decision depends on it, the runs of each recipe."""

    def __init__(
        self, study: Study, records: Sequence[Record], seconds: float = 0.0, lost: Mapping[str, float] | None = None
    ) -> None:
        """`seconds` is the wall-clock time of the runs that these records come from; `lost` is what `lose` gave."""
        self._study = study
        self._keeps = study.search.seeds != 1 or study.search.stall is not None
        self.groups: dict[str, list[Record]] = {}  # the runs of each recipe by its key, in order
        self._tried: list[int] = []  # the trials that brought a recipe, as they came in
        self.seconds = seconds
        self.epochs = self._lost_epochs = lost["epochs"] if lost else 0.0
        self.gpu_hours = self._lost_gpu_hours = lost["gpu_hours"] if lost else 0.0
        self.add(records)

    def add(self, records: Sequence[Record]) -> None:
        """Enter records that are stored."""
        self.spend(records)
        if self._keeps:
            for key, runs in by_recipe(records).items():
                if key not in self.groups and runs[0].variant == 0 and runs[0].phase in SEARCH_PHASES:
                    self._tried.append(runs[0].trial)
                group = self.groups.setdefault(key, [])
                group.extend(runs)
                group.sort(key=lambda run: not run.finished)  # a baseline that was tried again is led by what finished

    def lose(self, records: Sequence[Record] = (), epochs: float = 0.0) -> dict[str, float]:
        """Enter what an attempt cost of which no record will tell, since it is made again.

        Of one whose worker died that is known as far as it told: the epochs to its last rung. Returns what was lost
        in all, to be stored.
        """
        before = self.epochs, self.gpu_hours
        self.spend(records)
        self.epochs += epochs
        self._lost_epochs += self.epochs - before[0]
        self._lost_gpu_hours += self.gpu_hours - before[1]
        return {"epochs": self._lost_epochs, "gpu_hours": self._lost_gpu_hours}

    def spend(self, records: Sequence[Record]) -> None:
        """Enter what records cost."""
        share = 1.0 if self._study.search.gpus is None else self._study.search.gpus
        for record in records:
            if record.phase not in SEARCH_PHASES:
                continue
            self.epochs += record.spent_epochs
            if record.hardware.get("gpus") and self._study.train.device != "cpu":
                self.gpu_hours += share * (record.wall_seconds or 0.0) / 3600

    def used_up(self) -> str | None:
        """Why no further trial may start, in words, or None. The loop itself counts the trials."""
        search = self._study.search
        if search.epochs is not None and self.epochs >= search.epochs:
            return f"{self.epochs:g} epochs were trained, of search.epochs {search.epochs:g}"
        if search.hours is not None and self.seconds >= 3600 * search.hours:
            return f"{self.seconds / 3600:.2f} hours have passed, of search.hours {search.hours:g}"
        if search.gpu_hours is not None and self.gpu_hours >= search.gpu_hours:
            return f"{self.gpu_hours:.2f} GPU-hours were used, of search.gpu_hours {search.gpu_hours:g}"
        if search.stall is not None and stalled(self._study, self.groups, self._tried[-search.stall :], search.stall):
            return f"the hypervolume has not moved for {search.stall} trials (search.stall)"
        return None


def note_lost(store: Store, epochs: int) -> None:
    """Add to the store the epochs of attempts that ended with an earlier run, for the ledgers that are made next."""
    if epochs:
        lost = store.fact(LOST) or {"epochs": 0.0, "gpu_hours": 0.0}
        store.put_fact(LOST, lost | {"epochs": lost["epochs"] + epochs})


def stalled(study: Study, groups: Mapping[str, Sequence[Record]], latest: Sequence[int], trials: int) -> bool:
    """Whether the `latest` trials that brought a recipe, `trials` of them, moved the hypervolume by less than 0.1 %.

    Both volumes are bounded a tenth of the range behind the worst value of each objective, over the recipes within
    reach of the baseline: a useless one would make every gain look small.
    """
    trained = {run.trial for runs in groups.values() for run in runs[:1]}
    if len(latest) < trials or len(trained) <= trials:
        return False
    goals = study.goals

    def rivals(without: Collection[int]) -> list[Record]:
        return goals.rivals([mean_of(runs) for runs in groups.values() if runs[0].trial not in without])

    everyone = [mean_of(runs) for runs in groups.values()]
    now = goals.points(goals.within_reach(rivals(()), everyone))
    if not now:
        return True  # nothing keeps the constraints, and the latest trials did not change that
    worst = []
    for column, up in zip(zip(*now, strict=True), goals.maximize, strict=True):
        margin = BEHIND * (max(column) - min(column) or 1.0)
        worst.append(min(column) - margin if up else max(column) + margin)
    before = goals.hypervolume(rivals(set(latest)), worst)
    return goals.hypervolume(rivals(()), worst) <= (1 + MOVED) * before
