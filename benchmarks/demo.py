"""The demo study from the command line, against a hand-written Optuna loop over the same trials.

    python -m benchmarks demo [--trials 40]

The peer runs one trial after another, as such a loop does; the command runs as many at a time as there are cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.support.common import ROOT, Finished, Row, hardware_line, print_rows, ratio, run_python
from tricksearch.study.study import load_study

STUDY = "studies/digits.yaml"
TRIALS = 40
SECONDS = 100.0  # aimed at for 40 trials on two cores
MEMORY = 4 * 2**30


def main(arguments: list[str]) -> list[Row]:
    """Run the command, then the peer."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS)
    trials = parser.parse_args(arguments).trials
    print(hardware_line())
    with tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch:
        folder = Path(scratch) / "run"
        command = ("-c", "from tricksearch.cli import main; main()", "run", STUDY, "--phases", "search")
        ours = run_python(*command, "--trials", str(trials), "--out", str(folder), watch_memory=True)
        records = pd.read_parquet(folder / "records.parquet")
    peer = run_python("-m", "benchmarks.support.plain_optuna", STUDY, str(trials), watch_memory=True)
    rows = [*_rows(ours, peer, records)]
    print_rows(f"{STUDY}, {trials} trials; the peer is a hand-written Optuna loop in one process", rows)
    reasons = records.loc[records["status"] != "finished", "reason"].tolist()
    if reasons:
        print(f"not finished: {'; '.join(reasons)}")
    return rows


def _rows(ours: Finished, peer: Finished, records: pd.DataFrame) -> list[Row]:
    recipes = [json.loads(text) for text in records["recipe"]]
    distinct = len({json.dumps(recipe, sort_keys=True) for recipe in recipes})
    drawn = {name for recipe in recipes for name in recipe["tricks"]}
    known = {name for name, use in load_study(ROOT / STUDY).tricks.items() if use.use != "never"}
    trials = records["trial"].nunique()
    n = f"{trials} trials, {len(recipes)} records"
    finished = records.loc[records["status"] == "finished", "trial"].nunique()
    peer_trials, seconds_each = peer.result["trials"], ours.seconds / trials
    peer_each = peer.seconds / peer_trials
    mine, theirs = (f"{run.peak_bytes / 2**30:.2f} GiB" for run in (ours, peer))
    both = f"{n}, peer {peer_trials}"
    limit, most = f"at most {SECONDS:.0f} s for {TRIALS}, 2 cores", f"under {MEMORY / 2**30:.0f} GiB"
    quotient = ratio(peer_each, seconds_each)
    drawn_text = f"{len(drawn)} of {len(known)}"
    if known - drawn:
        drawn_text += f"; missing: {', '.join(sorted(known - drawn))}"
    return [
        Row(
            "demo: wall time, imports included", f"{ours.seconds:.1f} s", f"{peer.seconds:.1f} s", quotient, limit, both
        ),
        Row("demo: wall time a trial", f"{seconds_each:.2f} s", f"{peer_each:.2f} s", quotient, "", both),
        Row(
            "demo: peak memory of all processes (PSS)",
            mine,
            theirs,
            ratio(peer.peak_bytes, ours.peak_bytes),
            most,
            both,
        ),
        Row("demo: trials finished", str(finished), str(peer.result["finished"]), "", f"at least {TRIALS}", both),
        Row(
            "demo: recipes tried twice",
            str(len(recipes) - distinct),
            str(peer_trials - peer.result["distinct"]),
            "",
            "0",
            both,
        ),
        Row("demo: tricks drawn", drawn_text, "", "", "all", n),
        Row("demo: lines printed", str(ours.lines), str(peer.lines), "", "", both),
    ]
