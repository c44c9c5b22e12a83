"""The Fashion-MNIST study and the small CIFAR-100 study on real images, run to their ends.

    TRICKSEARCH_DATA=FOLDER python -m benchmarks real_data [--study NAME] [--out FOLDER]

FOLDER holds the official files. With --out the run folders are kept there, and an interrupted run goes on. The peer
of each record of the front is the study's own plain baseline.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.support.common import ROOT, Row, hardware_line, print_rows, run_python
from tricksearch.contract import InputError
from tricksearch.study.study import load_study
from tricksearch.trial.data.load import load_data
from tricksearch.trial.data.official import ROOT_VARIABLE

STUDIES = ("fashion_mnist", "cifar100_cpu")


def main(arguments: list[str]) -> list[Row]:
    """Run the studies whose data is there."""
    parser = argparse.ArgumentParser(prog="real_data", description=__doc__)
    parser.add_argument("--study", choices=STUDIES, action="append", help="only this one")
    parser.add_argument("--out", type=Path, help="keep the run folders here")
    asked = parser.parse_args(arguments)
    studies = asked.study or STUDIES
    missing = _missing(studies)
    if missing:
        print(f"left out: {missing}")
        return []
    print(hardware_line())
    with tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch:
        kept = (asked.out or Path(scratch)).resolve()
        return [row for name in studies for row in _run(name, kept / name)]


def _missing(studies: tuple[str, ...]) -> str:
    """Why the studies cannot be run, or an empty text. Nothing is downloaded."""
    if not os.environ.get(ROOT_VARIABLE):
        return f"set {ROOT_VARIABLE} to a folder with the official files of Fashion-MNIST and CIFAR-100"
    for name in studies:
        data = load_study(ROOT / "studies" / f"{name}.yaml").data
        try:
            load_data(data.model_copy(update={"download": False}))
        except InputError as error:
            return " ".join(str(error).split())
    return ""


def _run(name: str, folder: Path) -> list[Row]:
    command = ("-c", "from tricksearch.cli import main; main()", "run", f"studies/{name}.yaml", "--out", str(folder))
    ended = run_python(*command, watch_memory=True)
    lines = ended.output.splitlines()
    summary = next(index for index, line in enumerate(lines) if " without a result" in line)
    print("\n" + "\n".join(line.rstrip() for line in lines[summary:]), flush=True)
    records = pd.read_parquet(folder / "records.parquet")
    front = pd.read_csv(folder / "front.csv")
    finished = records[records["status"] == "finished"]
    baseline = finished[finished["phase"] == "baseline"]
    if baseline.empty:
        raise RuntimeError(f"the baseline of {name} did not finish: {records.iloc[0]['reason']}")
    plain = baseline.iloc[0]
    images, calls = int(plain["validation_images"]), int(finished["latency_runs"].median())
    print(
        f"{records['trial'].nunique()} trials, {len(records)} records, {len(finished)} of them finished, in "
        f"{ended.seconds / 60:.1f} min with {ended.peak_bytes / 2**30:.2f} GiB at most (PSS); n = {images} validation "
        f"images, {calls} timed calls (the median over the trials); one run each"
    )
    rows = []
    for _, row in front.iterrows():
        points, faster = row["accuracy"] - plain["accuracy"], plain["latency_ms"] / row["latency_ms"]
        difference = f"{points:+.2f} points, latency {faster:.2f} x"
        what = f"{name}: front, trial {row['trial']}"
        rows.append(Row(what, _text(row), f"{_text(plain)} (baseline)", difference, "", f"{images} images, one run"))
    print_rows(f"{name}: the front against the baseline", rows)
    return rows


def _text(record: pd.Series) -> str:
    return f"{record['accuracy']:.2f} %, {record['latency_ms']:.3f} ms"
