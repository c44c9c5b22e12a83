"""SIGTERM: nothing new starts, what runs gets its grace, what is being stored is stored."""

import os
import signal
import time
from types import SimpleNamespace

import pytest

from tricksearch.search.sigterm import closing_on_sigterm


@pytest.fixture
def loop():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    closed = []
    yield SimpleNamespace(close=lambda: closed.append(True), closed=closed, storing=False)
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGALRM, before[1])


def interrupted(loop, grace, work):
    """Run `work` under the guard, with a SIGTERM right before it."""

    def body():
        with closing_on_sigterm(loop, grace):
            os.kill(os.getpid(), signal.SIGTERM)
            work()

    with pytest.raises(KeyboardInterrupt):
        body()


def test_what_ends_in_time_ends_in_order(loop):
    reached = []
    interrupted(loop, 60, lambda: reached.append(list(loop.closed)))
    assert reached == [[True]], "the block was cut off, or the loop was not closed"
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_what_does_not_is_cut_off(loop):
    reached = []

    def work():
        time.sleep(30)
        reached.append(True)

    interrupted(loop, 0.05, work)
    assert not reached


def test_what_is_being_stored_is_stored(loop):
    reached = []

    def work():
        loop.storing = True
        time.sleep(0.3)
        reached.append("stored")
        loop.storing = False
        time.sleep(30)
        reached.append("more")

    interrupted(loop, 0.05, work)
    assert reached == ["stored"]


def test_without_a_signal_nothing_changes(loop):
    before = signal.getsignal(signal.SIGTERM)
    with closing_on_sigterm(loop, grace=0.05):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    assert not loop.closed
