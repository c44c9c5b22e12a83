"""Training that the search saves on a real study: epochs to reach what random search has after four times as many.

    python -m benchmarks epochs_saved [--trials 40] [--seeds 1]

studies/digits.yaml as it is, two trials at a time, and the same study drawn at random with four times the trials, each
with a cache of its own. Epochs are those of trainings from the start; fine-tuning and teachers, which both arms have,
are in the seconds of training only. Hypervolume of the accuracy and the latency of all that was measured, variants too,
bounded by half the images right and 1.5 x the plain net's latency; the latency is the ratio to that net's, since
milliseconds would move with the machine between the two runs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import pandas as pd
import yaml

from benchmarks.support.common import ROOT, Row, hardware_line, print_rows, ratio, run_python
from tricksearch.records.pareto import hypervolume

STUDY = "studies/digits.yaml"
TIMES = 4
CORNER = (50.0, 1.5)  # percent, and times the plain net's latency


def main(arguments: list[str]) -> list[Row]:
    """Run both arms for each seed."""
    parser = argparse.ArgumentParser(
        prog="epochs_saved", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=40, help="ours; random search has four times as many")
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args(arguments)
    print(hardware_line(), flush=True)
    rows = []
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch:
            ours = _run(Path(scratch), "auto", asked.trials, seed)
            peer = _run(Path(scratch), "random", asked.trials * TIMES, seed)
        rows += _rows(ours, peer, seed)
    print_rows(f"{STUDY}, {asked.trials} trials; the peer is random search over {TIMES} times as many", rows)
    return rows


def _run(scratch: Path, sampler: str, trials: int, seed: int) -> pd.DataFrame:
    """The records, in the order of their trials."""
    study = yaml.safe_load((ROOT / STUDY).read_text())
    study["search"] |= {"sampler": sampler, "trials": trials, "seed": seed, "workers": 2}
    path = scratch / f"{sampler}.yaml"
    path.write_text(yaml.safe_dump(study))
    command = ("-c", "from tricksearch.cli import main; main()", "run", str(path), "--phases", "search")
    run_python(*command, "--out", str(scratch / sampler))
    records = pd.read_parquet(scratch / sampler / "records.parquet").sort_values(["trial", "variant"])
    return records.assign(epochs=study["train"]["epochs"] * _trained(records))


def _trained(records: pd.DataFrame) -> pd.Series[int]:
    """1 for each record whose net was trained from the start for it, which is so for some of the trials' own alone."""
    known = records["reused"].map(lambda stages: "train" in json.loads(stages))
    return ((records["variant"] == 0) & (records["spent_seconds"] > 0) & ~known).astype(int)


def _volumes(records: pd.DataFrame) -> list[float]:
    """The hypervolume (% x ratio) after each trial."""
    good = records[records["status"] == "finished"]
    volumes = []
    for trial in records["trial"].unique():
        points = good.loc[good["trial"] <= trial, ["accuracy", "latency_ratio"]].to_numpy().tolist()
        volumes.append(hypervolume(points, (True, False), CORNER))
    return volumes


def _rows(ours: pd.DataFrame, peer: pd.DataFrame, seed: int) -> list[Row]:
    mine, theirs = _volumes(ours), _volumes(peer)
    epochs, peer_epochs = (list(run.groupby("trial")["epochs"].sum().cumsum()) for run in (ours, peer))
    reached = next((place for place, volume in enumerate(mine) if volume >= theirs[-1]), None)
    name = f"epochs_saved, seed {seed}"
    n = f"{len(mine)} trials, peer {len(theirs)}; n = 1 seed"
    text = "not reached" if reached is None else f"{epochs[reached]:,} (trial {reached})"
    return [
        Row(f"{name}: epochs to random search's last hypervolume", text, f"{peer_epochs[-1]:,}",
            "" if reached is None else ratio(peer_epochs[-1], epochs[reached]), f"at least {TIMES} x", n),
        Row(f"{name}: epochs in all", f"{epochs[-1]:,}", f"{peer_epochs[-1]:,}",
            ratio(peer_epochs[-1], epochs[-1]), "", n),
        Row(f"{name}: last hypervolume (% x ratio)", f"{mine[-1]:.3f}", f"{theirs[-1]:.3f}",
            ratio(theirs[-1], mine[-1]), "at most 1 x", n),
        Row(f"{name}: hypervolume of both after {len(mine)} trials", f"{mine[-1]:.3f}",
            f"{theirs[len(mine) - 1]:.3f}", ratio(theirs[len(mine) - 1], mine[-1]), "", n),
        Row(f"{name}: seconds of training in all", f"{ours['spent_seconds'].sum():.0f}",
            f"{peer['spent_seconds'].sum():.0f}", "", "", n),
    ]  # fmt: skip
