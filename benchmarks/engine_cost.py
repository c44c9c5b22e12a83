"""What the engine costs for each trial: trials that train nothing, against a stock Ray Tune script.

Everything but the trial is real: the built-in tricks' space, the sampler, the store on disk, the workers. Run with
    python -m benchmarks engine_cost [--n 200] [--stock-n 40]
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import Finished, Row, give_result, hardware_line, print_rows, ratio, run_python

TARGET = 0.1  # seconds a trial at n = 200
WORKERS = 2


def main(arguments: list[str]) -> list[Row]:
    """Run the engine and both forms of the stock script one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="engine_cost", description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="trials of ours, and of the stock script with reuse")
    parser.add_argument("--stock-n", type=int, default=40, help="trials of the stock script as documented: it is slow")
    asked = parser.parse_args(arguments)
    print(hardware_line())
    runs = {
        "tricksearch": run_python("-m", "benchmarks.engine_cost", str(asked.n)),
        "stock, reuse_actors": run_python("-m", "benchmarks.stock_tune", str(asked.n), "reuse"),
        "stock, as documented": run_python("-m", "benchmarks.stock_tune", str(asked.stock_n), "plain"),
    }
    rows = []
    ours = runs.pop("tricksearch")
    for name, peer in runs.items():
        rows += _rows(name, ours, peer)
    print_rows(
        f"Engine cost of a trial that does nothing, {WORKERS} at a time; the peer is Ray Tune + OptunaSearch", rows
    )
    return rows


def _rows(name: str, ours: Finished, peer: Finished) -> list[Row]:
    n = f"{len(ours.result['times'])}, peer {len(peer.result['times'])}"
    rows = []
    for what, cost, target in (
        ("s a trial, first record to last", _between, f"at most {TARGET} s"),
        ("s a trial, start and end of Ray included", _whole, ""),
    ):
        mine, theirs = cost(ours), cost(peer)
        rows.append(Row(f"{what} ({name})", f"{mine:.3f} s", f"{theirs:.3f} s", ratio(theirs, mine), target, n))
    rows.append(Row(f"lines printed ({name})", str(ours.lines), str(peer.lines), "", "", n))
    return rows


def _between(run: Finished) -> float:
    times = run.result["times"]
    return float((times[-1] - times[0]) / max(1, len(times) - 1))


def _whole(run: Finished) -> float:
    return float(run.result["seconds"] / len(run.result["times"]))


def run_no_ops(n: int) -> None:
    """In a process of its own: run a study of `n` trials on Ray with a worker that trains nothing."""
    from tricksearch.contract import discover
    from tricksearch.search.folder import held_folder, open_store
    from tricksearch.search.loop import Job, Loop
    from tricksearch.search.ray_runner import run_on_ray
    from tricksearch.search.study import load_study
    from tricksearch.search.worker import TrialWorker
    from tricksearch.trial.record import FINISHED, Record

    class NoOp(TrialWorker):
        def run(self, job: Job) -> list[Record]:
            record = Record(
                trial=job.trial,
                phase=job.phase,
                status=FINISHED,
                reason="",
                seed=job.seed,
                recipe=job.recipe,
                accuracy=random.uniform(90, 99),
                f1=random.uniform(90, 99),
                latency_ms=random.uniform(0.1, 1.0),
                latency_p95_ms=1.0,
                params=100_000,
                macs=1_000_000,
                file_bytes=400_000,
                train_seconds=0.0,
                validation_images=300,
                latency_runs=1000,
                latency_drift=1.0,
            )
            return [record]

    class Clock:
        def __init__(self) -> None:
            self.times: list[float] = []

        def started(self, job: Job) -> None:
            pass

        def recorded(self, records: Sequence[Record]) -> None:
            self.times.append(time.time())

    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch:
        path = Path(scratch) / "no_op.yaml"
        path.write_text(f"data: digits\nvariants: none\nsearch: {{trials: {n}}}\n")
        study, registry = load_study(path), discover()
        with held_folder(Path(scratch) / "run") as folder:
            store = open_store(folder, study, registry)
            start = time.perf_counter()
            run_on_ray(Loop(study, registry, store, folder, clock), WORKERS, worker=NoOp)
            seconds = time.perf_counter() - start
            stored = store.records()
            store.close()
    if len(stored) != n or not all(record.finished for record in stored):
        raise RuntimeError(f"{sum(record.finished for record in stored)} of {n} trials are in the store")
    give_result({"seconds": seconds, "times": clock.times})


if __name__ == "__main__":
    run_no_ops(int(sys.argv[1]))
