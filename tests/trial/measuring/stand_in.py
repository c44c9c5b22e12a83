"""A machine of the tests' own: it has a clock, moves when something computes, and nothing else disturbs it."""

from collections.abc import Callable, Sequence

import numpy as np

from tricksearch.contract import Predictor

SLICE = 4e-3  # seconds that the system gives to one program before it gives the processor to another
Of = Callable[[float], float]


class StandIn:
    """A `rounds.Clock` on which files cost what a test says, all in seconds since the start.

    `slowness(now)` is the factor on every cost, and `busy(now)` whether another program wants the processor too: it
    then has it for every second slice.
    """

    def __init__(self, slowness: Of = lambda now: 1.0, busy: Callable[[float], bool] = lambda now: False) -> None:
        self.slowness, self.busy = slowness, busy
        self.time = 0.0
        self._processor, self._interruptions, self._left = 0.0, 0, SLICE

    def now(self) -> float:
        return self.time

    def processor(self) -> float:
        return self._processor

    def interruptions(self) -> int:
        return self._interruptions

    def compute(self, milliseconds: float) -> None:
        """Compute what takes so long when the machine is fast and free."""
        work = milliseconds / 1e3 * self.slowness(self.time)
        while work > 0:
            step = min(work, self._left)
            work -= step
            self._left -= step
            self._processor += step
            self.time += step
            if self._left <= 0:
                self._left = SLICE
                if self.busy(self.time):
                    self.time += SLICE
                    self._interruptions += 1

    def call(self, milliseconds: float | Of) -> Callable[[], None]:
        """A call of so many milliseconds, or of those that a function tells of the time when it begins."""
        cost = milliseconds if callable(milliseconds) else lambda now: milliseconds
        return lambda: self.compute(cost(self.time))

    def copies(self, milliseconds: float, levels: Sequence[float] = (0.0,) * 6) -> list[Callable[[], None]]:
        """Loaded copies of one file, whose times differ from that by the factors exp(level)."""
        return [self.call(milliseconds * float(np.exp(level))) for level in levels]

    def predictors(self, cost: Callable[[int], float], levels: Sequence[float] = (0.0,) * 6) -> list[Predictor]:
        """Likewise, of a file whose calls take `cost(images)` milliseconds."""

        def loaded(level: float) -> Predictor:
            return lambda images: self.compute(cost(len(images)) * float(np.exp(level)))

        return [loaded(level) for level in levels]
