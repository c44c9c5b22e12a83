"""What the engine costs for each trial: trials that train nothing, against a stock Ray Tune script.

Everything but the trial is real: the built-in tricks' space, the sampler, the store on disk, the workers. Run with
    python -m benchmarks engine_cost [--n 1000] [--stock-n 200] [--slow-n 40] [--second-n 60] [--short]
The last part runs 10,000 trials, drawn at random, and looks at the memory at every 1,000th; `--short` leaves it out.
"""

from __future__ import annotations

import argparse

from benchmarks.support.common import Finished, Row, hardware_line, print_rows, ratio, run_python

TARGET = 0.05  # seconds a trial at n = 1,000
OVER = 1.05  # times the ideal, with trials of a second
WORKERS = 2
LONG, EVERY = 10_000, 1_000
FLAT = 1.1  # times the memory at the first look, at most


def main(arguments: list[str]) -> list[Row]:
    """Run the engine and both forms of the stock script one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(
        prog="engine_cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=1000, help="trials of ours")
    parser.add_argument("--stock-n", type=int, default=200, help="trials of the stock script with reuse")
    parser.add_argument("--slow-n", type=int, default=40, help="trials of the stock script as documented: it is slow")
    parser.add_argument("--second-n", type=int, default=60, help="trials of a second each, ours and stock with reuse")
    parser.add_argument("--short", action="store_true", help="without a look at the memory over 10,000 trials")
    asked = parser.parse_args(arguments)
    print(hardware_line())
    ours = run_python("-m", "benchmarks.support.no_op", str(asked.n))
    reuse = run_python("-m", "benchmarks.support.stock_tune", str(asked.stock_n), "reuse")
    plain = run_python("-m", "benchmarks.support.stock_tune", str(asked.slow_n), "plain")
    rows = [*_rows("stock, reuse_actors", ours, reuse), *_rows("stock, as documented", ours, plain)]
    if asked.second_n > WORKERS:
        n = str(asked.second_n)
        rows += _second(
            run_python("-m", "benchmarks.support.no_op", n, "--sleep", "1"),
            run_python("-m", "benchmarks.support.stock_tune", n, "reuse", "1"),
        )
    if not asked.short:
        rows += _memory(
            run_python("-m", "benchmarks.support.no_op", str(LONG), "--sampler", "random", "--look-every", str(EVERY))
        )
    print_rows(f"Engine cost of a trial, {WORKERS} at a time; the peer is Ray Tune + OptunaSearch", rows)
    return rows


def _rows(name: str, ours: Finished, peer: Finished) -> list[Row]:
    n = f"{len(ours.result['times'])}, peer {len(peer.result['times'])}"
    rows = []
    for what, cost, target in (
        ("s a trial that does nothing, first record to last", _between, f"at most {TARGET} s"),
        ("s a trial that does nothing, start and end of Ray included", _whole, ""),
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


def _second(ours: Finished, peer: Finished) -> list[Row]:
    """Times the ideal, from the first record, which comes when Ray has started and a second has passed."""

    def over(run: Finished) -> float:
        times = run.result["times"]
        return float((times[-1] - times[0]) / (len(times) / WORKERS - 1))

    def whole(run: Finished) -> float:
        return float(run.result["seconds"] * WORKERS / len(run.result["times"]))

    n = str(len(ours.result["times"]))
    return [
        Row("trials of 1 s: times the ideal, first record to last (stock, reuse_actors)", f"{over(ours):.3f}",
            f"{over(peer):.3f}", ratio(over(peer), over(ours)), f"at most {OVER}", n),
        Row("trials of 1 s: times the ideal, start and end of Ray included", f"{whole(ours):.3f}",
            f"{whole(peer):.3f}", ratio(whole(peer), whole(ours)), "", n),
    ]  # fmt: skip


def _memory(run: Finished) -> list[Row]:
    looks = {int(at): memory for at, memory in run.result["memory"].items()}
    rows = []
    for place, name in enumerate(("driver", "workers")):
        mebibytes = {at: memory[place] / 2**20 for at, memory in looks.items()}
        print(
            f"{name}, MiB of its own: " + ", ".join(f"{at}: {memory:.0f}" for at, memory in sorted(mebibytes.items()))
        )
        first, last = mebibytes[EVERY], mebibytes[LONG]
        rows.append(
            Row(f"memory of the {name}, MiB (USS), from trial {EVERY:,} to {LONG:,}", f"{first:.0f} to {last:.0f}", "",
                "", f"at most {FLAT} x", str(LONG))
        )  # fmt: skip
    rows.append(Row("s a trial that does nothing, drawn at random", f"{_between(run):.3f} s", "", "", "", str(LONG)))
    return rows
