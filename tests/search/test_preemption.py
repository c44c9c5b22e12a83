"""SIGTERM: nothing new starts, what runs gets its grace, what is being stored is stored."""

import os
import signal
import time
from types import SimpleNamespace

import pytest

from tricksearch.search.preemption import closing_on_sigterm


@pytest.fixture
def loop():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    closed = []
    yield SimpleNamespace(close=lambda: closed.append(True), closed=closed, storing=False)
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGALRM, before[1])


def test_what_ends_in_time_ends_in_order(loop):
    reached = []
    with pytest.raises(KeyboardInterrupt), closing_on_sigterm(loop, grace=60):
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append(list(loop.closed))
    assert reached == [[True]], "the block was cut off, or the loop was not closed"
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_what_does_not_is_cut_off(loop):
    with pytest.raises(KeyboardInterrupt), closing_on_sigterm(loop, grace=0.05):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
        pytest.fail("nobody interrupted it")


def test_what_is_being_stored_is_stored(loop):
    stored = []
    with pytest.raises(KeyboardInterrupt), closing_on_sigterm(loop, grace=0.05):
        loop.storing = True
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)
        stored.append(True)
        loop.storing = False
        time.sleep(30)
        pytest.fail("nobody interrupted it")
    assert stored


def test_without_a_signal_nothing_changes(loop):
    before = signal.getsignal(signal.SIGTERM)
    with closing_on_sigterm(loop, grace=0.05):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    assert not loop.closed
