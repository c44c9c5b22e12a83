"""The machine's lock, between real processes: one stopwatch alone, or any number of trainers."""

import json
import os
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import pytest

from tricksearch.contract import InputError
from tricksearch.trial.measuring import machine_lock as machine
from tricksearch.trial.measuring.machine_lock import Machine

# Each process writes what it held, and when, by the clock that all processes of a machine share.
HEAD = """
import sys, time, json, os
from pathlib import Path
from tricksearch.trial.measuring.machine_lock import Machine
folder, log = Path(sys.argv[1]), []
machine = Machine(folder)
def note(kind, start):
    log.append((kind, start, time.monotonic()))
print("ready", flush=True)
sys.stdin.readline()
"""
TRAINER = """
with machine.shared():
    end = time.monotonic() + 600
    while not (folder / "stop").exists() and time.monotonic() < end:
        start = time.monotonic()
        while time.monotonic() < start + 0.002:
            pass
        note("shared", start)
        machine.step_aside()
print(json.dumps(log), flush=True)
"""
STOPWATCH = """
asked = time.monotonic()
for lap in range(12):
    with machine.shared():
        start = time.monotonic()
        time.sleep(0.003)
        note("shared", start)
        with machine.alone():
            start = time.monotonic()
            time.sleep(0.01)
            note("alone", start)
        start = time.monotonic()
        time.sleep(0.003)
        note("shared", start)
print(json.dumps([log, time.monotonic() - asked, machine.waited]), flush=True)
"""
HOLDER = """
with machine.alone():
    print("held", flush=True)
    time.sleep(600)
"""
ENTERER = """
with machine.shared():
    print("in", flush=True)
"""


@pytest.fixture
def start(tmp_path):
    """Start processes that wait for a line before they begin."""
    begun = []

    def processes(*programs: str) -> list[subprocess.Popen]:
        some = [
            subprocess.Popen(
                [sys.executable, "-c", HEAD + program, str(tmp_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for program in programs
        ]
        begun.extend(some)
        for each in some:
            assert each.stdout.readline() == "ready\n"
        for each in some:
            each.stdin.write("go\n")
            each.stdin.flush()
        return some

    yield processes
    for each in begun:
        each.kill()
        each.communicate()


def overlaps(first: list, second: list) -> bool:
    return first[1] < second[2] and second[1] < first[2]


def test_a_stopwatch_is_alone_and_is_not_starved(start, tmp_path):
    trainers = start(TRAINER, TRAINER)
    stopwatches = start(STOPWATCH, STOPWATCH)
    # One that is starved waits until the trainers end: for ten minutes, or until the stopwatches are done.
    timed = [json.loads(each.communicate(timeout=300)[0]) for each in stopwatches]
    assert [each.poll() for each in trainers] == [None] * 2
    (tmp_path / "stop").touch()
    held = [json.loads(each.communicate(timeout=300)[0]) for each in trainers]

    everyone = [*held, *(log for log, _, _ in timed)]
    for mine, log in enumerate(everyone):
        alone = [each for each in log if each[0] == "alone"]
        others = [each for number, other in enumerate(everyone) if number != mine for each in other]
        assert not [(a, b) for a in alone for b in others if overlaps(a, b)]
    # Not for want of company: the trainers share the machine, and were at work all along.
    assert any(overlaps(a, b) for a in held[0] for b in held[1])
    for log, lasted, waited in timed:
        assert len([each for each in log if each[0] == "alone"]) == 12
        assert 0 < waited < lasted


def test_the_death_of_its_holder_frees_the_machine(start):
    (holder,) = start(HOLDER)
    assert holder.stdout.readline() == "held\n"
    (enterer,) = start(ENTERER)
    time.sleep(0.3)
    assert enterer.poll() is None, "nobody enters beside a stopwatch"
    holder.kill()
    out, _ = enterer.communicate(timeout=300)  # the holder would have slept for twice as long
    assert (out, enterer.returncode) == ("in\n", 0)


def test_idle_gives_the_machine_up_and_takes_it_back(tmp_path):
    mine, other = Machine(tmp_path), Machine(tmp_path)
    with mine.shared(), mine.idle(), other.alone():
        pass
    with mine.shared():
        with mine.alone():
            pass
        with other.shared():
            mine.step_aside()
    mine.step_aside()  # outside of shared(), as a net that is trained for a test: nothing to do
    with other.alone():
        pass
    mine.close()
    other.close()


def test_what_runs_on_a_gpu_is_done_before_a_stopwatch_begins(tmp_path, monkeypatch):
    """Where there is no GPU, what would wait for one tells instead whether the stopwatch was kept out meanwhile."""
    mine, other = Machine(tmp_path), Machine(tmp_path)
    kept_out = []

    def finish() -> None:
        try:
            machine.fcntl.flock(other._floor, machine.fcntl.LOCK_EX | machine.fcntl.LOCK_NB)
        except BlockingIOError:
            kept_out.append(True)
        else:
            machine.fcntl.flock(other._floor, machine.fcntl.LOCK_UN)
            kept_out.append(False)

    monkeypatch.setattr(machine, "_finish_kernels", finish)
    with mine.shared():
        for _ in range(3):
            mine.step_aside()
        assert kept_out == [], "unasked, it does not wait for its GPU at every batch"
        with mine.alone():
            assert kept_out == [True]
        with mine.idle():
            assert kept_out == [True] * 2
    assert kept_out == [True] * 3
    mine.close()
    other.close()


def test_the_gpus_that_were_used_are_waited_for(monkeypatch):
    """Through a torch of the test's own: one that has used the second of three GPUs."""
    waited = []

    def synchronize(index: int) -> None:
        waited.append(index)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    cuda = types.SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 3,
        memory_reserved=lambda index: 2**20 * (index == 1),
        synchronize=synchronize,
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    machine._finish_kernels()
    assert waited == [1]
    cuda.is_initialized = lambda: False
    machine._finish_kernels()
    assert waited == [1]


def test_an_error_inside_gives_the_machine_back(tmp_path):
    mine, other = Machine(tmp_path), Machine(tmp_path)
    for way in (mine.shared, mine.alone):
        with pytest.raises(ValueError, match="inside"), way():
            raise ValueError("inside")
        with other.alone():
            pass
    with pytest.raises(ValueError, match="inside"), mine.shared(), mine.alone():
        raise ValueError("inside")
    with other.alone():
        pass
    mine.close()
    other.close()


GATE, FLOOR = "tricksearch-machine-gate.lock", "tricksearch-machine-floor.lock"
OWN = f"tricksearch-machine-gate-{os.getuid()}.lock"


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def test_the_files_lie_in_one_place_whatever_the_temporary_folder(tmp_path, monkeypatch):
    common, mine = tmp_path / "common", tmp_path / "mine"
    common.mkdir(), mine.mkdir()
    monkeypatch.delenv(machine.LOCKS)
    assert Path("/tmp") == machine.COMMON
    monkeypatch.setattr(machine, "COMMON", common)
    monkeypatch.setattr(tempfile, "tempdir", str(mine))
    Machine().close()
    assert (names(common), names(mine)) == ({GATE, FLOOR}, set())
    monkeypatch.setattr(machine, "COMMON", tmp_path / "none")
    Machine().close()
    assert names(mine) == {GATE, FLOOR}
    monkeypatch.setenv(machine.LOCKS, str(tmp_path))
    Machine().close()
    assert names(tmp_path) == {GATE, FLOOR, "common", "mine"}


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/null")])
def test_what_is_no_regular_file_is_passed_by(tmp_path, make):
    make(tmp_path / GATE)
    subprocess.run([sys.executable, "-c", HEAD, str(tmp_path)], input=b"\n", check=True, timeout=600)  # a pipe may wait
    assert names(tmp_path) == {GATE, OWN, FLOOR}


def test_a_file_that_another_user_keeps_shut_is_passed_by(tmp_path, monkeypatch):
    real = os.open
    (tmp_path / GATE).touch()

    def shut(path, *more):
        if Path(path).name == GATE:
            raise PermissionError(13, "Permission denied")
        return real(path, *more)

    monkeypatch.setattr(os, "open", shut)
    mine, other = Machine(tmp_path), Machine(tmp_path)
    assert names(tmp_path) == {GATE, OWN, FLOOR}
    with mine.alone(), pytest.raises(BlockingIOError):
        machine.fcntl.flock(other._gate, machine.fcntl.LOCK_EX | machine.fcntl.LOCK_NB)
    mine.close()
    other.close()


def test_a_file_that_another_user_makes_at_the_same_moment_is_shared(tmp_path, monkeypatch):
    """With fs.protected_regular the kernel refuses O_CREAT for another user's file, and nothing else."""
    real = os.open

    def protected(path, flags, *more):
        if flags & os.O_CREAT:
            os.close(real(path, os.O_CREAT | os.O_WRONLY))
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", protected)
    Machine(tmp_path).close()
    assert names(tmp_path) == {GATE, FLOOR}


def test_no_place_for_a_lock_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match=f"{OWN}: the lock file cannot be used: No such file"):
        Machine(tmp_path / "none")
