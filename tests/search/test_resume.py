"""Real runs on Ray, ended in every way a run can end, and gone on with by the same command."""

import os
import signal
from collections import Counter

import psutil

from tests.search.runs import SIMULATED, TRIALS, Run, rows


def test_interrupt_kill_and_terminate_lose_nothing_and_repeat_nothing(tmp_path, make_study):
    make_study(**SIMULATED)
    study = tmp_path / "study.yaml"

    first = Run(tmp_path, study)
    first.wait_for(3)
    os.killpg(first.process.pid, signal.SIGINT)  # Ctrl-C reaches the whole group
    code, _, err = first.end()
    assert code == 130
    assert "same command" in err
    assert "Traceback" not in err
    after_interrupt = rows(first.store)

    second = Run(tmp_path, study)
    second.wait_for(len(after_interrupt) + 3)
    second.look()
    second.process.send_signal(signal.SIGKILL)
    second.process.wait()
    after_kill = rows(second.store)
    assert second.servers
    assert {address.removeprefix("::ffff:") for address in second.servers} == {"127.0.0.1"}
    assert second.workers
    _, alive = psutil.wait_procs(second.workers, timeout=300)
    assert not alive, "workers go on training after their driver was killed"

    third = Run(tmp_path, study)
    third.wait_for(len(after_kill) + 2)
    third.process.send_signal(signal.SIGTERM)
    assert third.end()[0] == 130
    after_term = rows(third.store)

    last = Run(tmp_path, study)
    code, out, err = last.end()
    assert (code, err) == (0, "")
    assert f"[{TRIALS}/{TRIALS}]" in out
    final = rows(last.store)

    for earlier, later in ((after_interrupt, after_kill), (after_kill, after_term), (after_term, final)):
        assert set(earlier) <= set(later), "a stored record was lost or changed"
    assert [trial for trial, _, _ in final] == list(range(TRIALS))
    assert max(Counter(key for _, key, _ in final).values()) == 1
    assert {'"status": "finished"' in record for _, _, record in final} == {True}
    for name in ("records.parquet", "front.csv", "best.yaml", "study.resolved.yaml", "report.html", "run.log"):
        assert (tmp_path / "run" / name).stat().st_size > 0
