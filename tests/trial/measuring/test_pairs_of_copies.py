"""Each copy of a file is compared with one copy of the yardstick, so that the interval covers what both differ by."""

import numpy as np
import pytest

from tricksearch.trial.measuring.rounds import interval, take_rounds


class Clock:
    """Moves when something is called."""

    seconds = 0.0

    def now(self) -> float:
        return self.seconds

    processor = now

    def interruptions(self) -> int:
        return 0

    def copies(self, *milliseconds: float) -> list:
        """Calls that take this long."""

        def call(own: float) -> None:
            self.seconds += own / 1e3

        return [lambda own=own: call(own) for own in milliseconds]


def ratios(file: list[float], yardstick: list[float]) -> np.ndarray:
    clock = Clock()
    rounds = take_rounds(
        [clock.copies(*file)],
        clock.copies(*yardstick),
        precision=0.01,
        seconds=1.0,
        block_seconds=0.005,
        clock=clock,
    )
    return np.exp(rounds.copies()[0])


def test_a_copy_meets_the_same_copy_of_the_yardstick_in_every_round():
    assert ratios([1.0, 1.1, 0.9, 1.2], [1.0, 1.1, 0.9, 1.2]) == pytest.approx(np.ones(4))


def test_what_the_yardsticks_copies_differ_by_is_within_the_interval():
    _, half = interval(np.log(ratios([1.0] * 4, [1.0, 1.02, 1.04, 1.1])))
    assert half > 0.04


def test_a_yardstick_of_fewer_copies_serves_all():
    assert ratios([1.0] * 4, [0.5, 0.25]) == pytest.approx(np.array([2.0, 4.0, 2.0, 4.0]))
