"""Real processes, real crashes: whatever a runtime does, the next deployable is served, and no process stays."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.trial.runtimes import (
    ends,
    load_means,
    load_misfit,
    of,
    pid_of,
    still_runs,
    use,
)
from tricksearch.contract import TrialError
from tricksearch.trial.measuring import runner as module

FATES = {
    "segfault": "crashed with SIGSEGV",
    "abort": "crashed with SIGABRT",
    "kill": "crashed with SIGKILL, as where memory runs out",
    "real-time signal": "crashed with signal 40",
    "exit": "ended its process with exit code 3",
    "sys.exit": "ended its process with exit code 4",
    "segfault, with a child that lives on": "crashed with SIGSEGV",
}


@pytest.mark.parametrize(
    ("how", "when"), [*((how, "logits") for how in FATES), ("segfault", "load"), ("segfault", "time")]
)
def test_a_crash_costs_the_deployable_and_not_the_runner(runner, file, how, when):
    before = pid_of(runner, file)
    start = time.monotonic()
    with pytest.raises(TrialError) as caught:
        use(runner, of(load_misfit, how=how, when=when), file, timed=when == "time")
    assert time.monotonic() - start < 300, "it waited for an answer, or for the child"
    file.path.with_name(f"{file.path.name}.end").touch()  # at which the child ends
    assert str(caught.value) == f"the runtime {FATES[how]}"
    with pytest.raises(TrialError, match="no deployable is loaded"):
        runner.logits(0, 1)
    assert pid_of(runner, file) != before
    assert not still_runs(before)


@pytest.mark.parametrize("when", ["load", "run"])
@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("error", TrialError, "cannot {} the file: RuntimeError: the operator 'Frobnicate' is\nnot known"),
        ("memory", MemoryError, "out of memory: no 64 GiB"),
        ("allocate", MemoryError, "out of memory"),
    ],
)
def test_an_error_is_told_and_the_process_goes_on(runner, file, how, kind, text, when):
    before = pid_of(runner, file)
    with pytest.raises(kind) as caught:
        use(runner, of(load_misfit, how=how, when=when), file)
    assert text.format(when) in str(caught.value)
    assert pid_of(runner, file) == before


def test_the_traceback_of_an_error_goes_to_the_log(runner, file, capfd):
    with pytest.raises(TrialError):
        runner.load(of(load_misfit, how="error", when="load"), file, 1)
    assert "<load_misfit>" in capfd.readouterr().err


def test_a_runtime_that_hangs_is_given_up(runner, file, monkeypatch):
    before = pid_of(runner, file)
    runner.load(of(load_misfit, how="hang", when="run"), file, 1)
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    with pytest.raises(TrialError, match="the runtime gave no answer in 0 s"):
        runner.logits(0, 1)
    monkeypatch.undo()
    assert not still_runs(before)
    assert pid_of(runner, file) != before


def test_an_interrupt_leaves_no_stale_answer_behind(runner, file):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    runner.load(of(load_misfit, how="hang", when="run"), file, 1)
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  # wherever it comes
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            runner.logits(0, 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    runner.load(of(load_means, shift=0.25), file, 1)
    assert runner.logits(0, 2)[:, 1].tolist() == [1.25, 1.25]


def test_the_interrupt_of_a_terminal_is_the_trials_business(runner, file):
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # one that ignores it would be inherited
    try:
        pid = pid_of(runner, file)
        os.kill(pid, signal.SIGINT)
        time.sleep(0.2)
        assert runner.logits(0, 1)[0, 0] == pid
    finally:
        signal.signal(signal.SIGINT, handler)


PARENT = """
import sys
import numpy as np
from pathlib import Path
from tricksearch.contract import Deployable, Runtime
from tricksearch.trial.measuring.runner import Runner
sys.path.insert(0, sys.argv[1])
from runtime_of_parent import load_then

runner = Runner(np.zeros((2, 1, 2, 2), np.uint8))
runner.load(Runtime("x", load_then, packages=(), options={"how": sys.argv[3]}), Deployable(Path(sys.argv[2])), 1)
print(int(runner.logits(0, 1)[0, 0]), int(runner.logits(0, 1)[0, 1]), flush=True)
if sys.argv[3] == "idle":
    sys.stdin.read()
runner.logits(0, 2)
"""
RUNTIME = """
def load_then(path, threads, precision, how):
    import ctypes
    import os

    import numpy

    def predict(images):
        if len(images) == 2:
            open(f"{path}.busy", "w").close()
            while how == "python":
                pass
            ctypes.PyDLL(None).sleep(60)  # holds the interpreter's lock, so that no thread of Python's can act
        return numpy.array([[os.getpid(), os.getpriority(os.PRIO_PROCESS, 0)]], numpy.float64)

    return predict
"""


@pytest.mark.parametrize("how", ["idle", "python", "library"])
def test_the_process_ends_with_a_parent_that_is_killed(tmp_path, how):
    (tmp_path / "runtime_of_parent.py").write_text(RUNTIME)
    file, busy = tmp_path / "file", tmp_path / "file.busy"
    file.touch()
    nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 3)
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.nice(3)\n{PARENT}", str(tmp_path), str(file), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        try:
            pid, found = map(int, parent.stdout.readline().split())
            assert found == nice
            while how != "idle" and not busy.exists():
                assert parent.poll() is None
                time.sleep(0.01)
            assert still_runs(pid)
        finally:
            parent.kill()
    assert ends(pid)


def test_a_process_that_comes_too_late_for_its_parent_ends(tmp_path):
    """Between the start and the call that binds it to its parent's life, the parent may have died."""
    wire = os.pipe()[1]
    ended = subprocess.run(
        [sys.executable, "-m", "tricksearch.trial.measuring.runner_process", "[1]", "0", str(wire), "-1"],
        check=False,
        pass_fds=[wire],
        capture_output=True,
        text=True,
        timeout=600,
    )
    os.close(wire)
    assert ended.returncode == 1
    assert "is gone" in ended.stderr
