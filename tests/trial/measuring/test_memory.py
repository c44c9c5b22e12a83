"""The memory that something adds to a process, at its peak."""

import mmap

import numpy as np
import pytest

from tricksearch.trial.measuring import memory
from tricksearch.trial.measuring.memory import added_memory

MIB = 2**20


def test_added_memory_is_the_peak_and_not_what_was_there():
    before = np.ones(64 * MIB, np.uint8)
    kept = []

    def act() -> None:
        with mmap.mmap(-1, 48 * MIB) as passing:  # goes back to the system, whatever the allocator would keep
            for page in range(0, 48 * MIB, 4096):
                passing[page] = 1
        kept.append(np.ones(16 * MIB, np.uint8))

    added = added_memory(act)
    assert len(kept) == len(before) // (64 * MIB) == 1
    if added is None:
        pytest.skip("this system does not tell the peak of a process's memory")
    assert 47 * MIB < added < 60 * MIB  # the system counts to about a quarter of a MiB
    assert added_memory(lambda: None) < 4 * MIB


def test_where_the_system_does_not_tell_there_is_no_number(monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError("not here")

    calls = []
    monkeypatch.setattr(memory.Path, "write_text", refuse)
    assert added_memory(lambda: calls.append(1)) is None
    monkeypatch.undo()
    monkeypatch.setattr(memory.Path, "read_text", refuse)
    assert added_memory(lambda: calls.append(1)) is None
    assert calls == [1, 1]
