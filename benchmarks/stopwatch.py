"""How far a latency can be trusted: the stopwatch against other ways of timing, beside a busy loop, beside training.

    python -m benchmarks stopwatch [--repeats 200] [--minutes 10] [--parts ranges itself busy cost training]

The files are those of the demo's net, untrained: plain, in INT8 and with SE. The parts:

ranges    the range in which 95 % of estimates of a ratio lie, as a share of the truth, which is the median of all
          rounds: the stopwatch against a median of 5 blocks of 20 ms of each file, at a moment of its own, and against
          5, 20 and 60 rounds in which a block of one file follows one of the other. A loading serves one estimate of 60
itself    a file against itself, and against a copy in which all nodes and tensors have other names: how often the
          ratio is within 2 % of 1, and how often its interval says that one is faster. Beside it a plain loop, 100
          calls of one file after 100 of the other with the interval of the means, and `onnxruntime_test`, the tool
          that comes with ONNX Runtime (1,000 calls, its own number of threads, no interval)
busy      the same on one core, with a loop on it that never rests
cost      nets of several widths, each of them new: how long the machine is held, and the wall time of a latency
training  latencies while two processes train, through the machine's lock and without it, against those on an idle
          machine, where the trials are stopped by a signal; the three follow each other within seconds

A part takes its share of the minutes at most, and ends with fewer repeats where the machine is slow: n says how many.
Everything runs at the nice level of Ray's workers.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.common import Row, give_result, hardware_line, print_rows, ratio, run_python
from benchmarks.support.stopwatch_parts import CONDITIONS, PARTS, PASSES, Figures
from benchmarks.support.ways_of_timing import BLOCKS, at_two_moments, interleaved

NICE = 15  # Ray starts its workers so
WITHIN = 0.02
DRAWS = 2000
OWN_TOOL = "onnxruntime_test"
Array = np.ndarray[Any, Any]


def main(arguments: list[str]) -> list[Row]:
    """Measure in a process of its own, whose nice level can be raised for good."""
    parser = argparse.ArgumentParser(
        prog="stopwatch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=200, help="of each comparison, at most")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all parts together")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    asked = parser.parse_args(arguments)
    print(hardware_line())
    rows: list[Row] = []
    for part in asked.parts:
        numbers = (str(60 * asked.minutes * PARTS[part][1]), str(asked.repeats))
        figures = run_python("-m", "benchmarks.stopwatch", part, *numbers).result
        rows += ROWS[part](figures)
    print(f"one thread, batch 1; load average {os.getloadavg()[0]:.1f} at the end")
    print_rows(
        "The stopwatch. Ranges are shares of the truth, the median of all rounds; what stands behind ; is the peer",
        rows,
    )
    return rows


def range_rows(figures: Figures) -> list[Row]:
    """The stopwatch's range beside that of each other way, for two comparisons."""
    taken = np.array(figures["rounds"])  # (loadings, rounds, files): plain, plain again, INT8
    base, rows = taken[..., 0], []
    for name, words, own in (("int8", "INT8 / plain", taken[..., 2]), ("itself", "a file / itself", taken[..., 1])):
        truth = 1.0 if name == "itself" else float(np.median(own / base))
        ours = np.array(figures[name]) / truth
        middle = f"{np.median(ours):.3f} of it"
        n = f"{len(ours)}; {taken.shape[0]} loadings x {taken.shape[1]} rounds of the peer"
        rows.append(Row(f"{words}, median; all rounds of 20 ms", middle, f"{truth:.3f}", "", f"within {WITHIN:.0%}", n))
        ways = {f"{BLOCKS} blocks at two moments": at_two_moments(own, base, DRAWS) / truth}
        ways |= {f"{count} rounds in turn": interleaved(own, base, count) / truth for count in (5, 20, 60)}
        for way, theirs in ways.items():
            rows.append(
                Row(
                    f"{words}, 95 % of estimates; {way}",
                    _range(ours),
                    _range(theirs),
                    ratio(_width(theirs), _width(ours)) + " as wide",
                    f"within {WITHIN:.0%}",
                    f"{len(ours)} and {len(theirs)} estimates",
                )
            )
    return rows


def _quantiles(shares: Array) -> Array:
    return np.asarray(np.quantile(shares, [0.025, 0.975]))


def _range(shares: Array) -> str:
    low, high = _quantiles(shares)
    return f"{low:.3f} to {high:.3f}"


def _width(shares: Array) -> float:
    return float(np.diff(np.log(_quantiles(shares)))[0])


def itself_rows(figures: Figures, where: str = "idle") -> list[Row]:
    """How often two files that are alike are seen to be so."""
    rows = []
    for name, words in (("itself", "itself"), ("copy", "a copy with other names")):
        ways = {way: np.array(values, dtype=float) for way, values in figures[name].items()}
        n = f"{len(ways['stopwatch'])} each"
        close = {way: f"{np.mean(abs(values[:, 0] - 1) <= WITHIN):.1%}" for way, values in ways.items()}
        worst = {way: f"{_worst(values):.1%}" for way, values in ways.items()}
        rows += [
            Row(f"{where}, file against {words}: within 2 % of 1", close["stopwatch"],
                f"loop {close['loop']}, {OWN_TOOL} {close['tool']}", "", "at least 95 %", n),
            Row(f"{where}, file against {words}: called faster or slower", _called(ways["stopwatch"]),
                f"loop {_called(ways['loop'])}; {OWN_TOOL}: no interval", "", "at most 5 %", n),
            Row(f"{where}, file against {words}: error of 95 %, at most", worst["stopwatch"],
                f"loop {worst['loop']}, {OWN_TOOL} {worst['tool']}", "", "at most 2 %", n),
        ]  # fmt: skip
    shown = f"{figures['disturbed']:.0%}"
    n = f"{2 * len(figures['itself']['stopwatch'])} measurements"
    return [*rows, Row(f"{where}: measurements marked as disturbed", shown, "", "", "", n)]


def busy_rows(figures: Figures) -> list[Row]:
    """The same beside a loop on the same core."""
    return itself_rows(figures, "busy core")


def _worst(values: Array) -> float:
    return float(np.quantile(abs(values[:, 0] - 1), 0.95))


def _called(values: Array) -> str:
    """The share, of those that have an interval, whose interval leaves out 1; values (N, 3)."""
    known = values[~np.isnan(values[:, 1])]
    return f"{np.mean((known[:, 1] > 1) | (known[:, 2] < 1)):.1%}" if len(known) else "no interval"


def cost_rows(figures: Figures) -> list[Row]:
    """What the latency of a new shape costs."""
    held, timed, wall, ms = (np.array(figures[name]) for name in ("held", "timed", "wall", "ms"))
    n = f"{len(held)} shapes of {ms.min():.3f} to {ms.max():.3f} ms"
    small = wall[ms < 1]
    return [
        Row("new shape: time alone on the machine / timed calls, median (largest)",
            f"{np.median(held / timed):.2f} ({(held / timed).max():.2f})", "", "", "at most 1.2", n),
        Row("new shape: time alone on the machine, median (largest)",
            f"{np.median(held):.1f} s ({held.max():.1f})", "", "", "", n),
        Row("new shape under 1 ms: wall time of its latency, median (largest)",
            f"{np.median(small):.1f} s ({small.max():.1f})" if len(small) else "-", "", "", "at most 3 s",
            f"{len(small)} shapes"),
    ]  # fmt: skip


def training_rows(figures: Figures) -> list[Row]:
    """Latencies while trials train; the peer is the stopwatch without the lock."""
    values = {name: np.array(figures[name]).transpose(2, 1, 0) for name in CONDITIONS}  # (4, passes, nets)
    n = f"{values['idle'].shape[2]} nets x {PASSES} beside {figures['trials']} trials"
    texts = {
        name: (
            _bias(own[0], values["idle"][0]),
            _bias(own[1], values["idle"][1]),
            f"{np.median(abs(np.log(own[0, 0] / own[0, 1]))):.1%}",
            f"{own[2].mean():.0%}",
            f"{1e3 * np.median(own[3]):.0f} ms",
        )
        for name, own in values.items()
    }
    titles = (
        ("ratio to the plain net against idle, median over nets (range)", "at most 2 %"),
        ("ms against idle, median over nets (range)", ""),
        ("difference of the ratio between two passes, median over nets", "at most 2 %"),
        ("rounds that were disturbed, mean", ""),
        ("waiting for the lock, median", ""),
    )
    return [
        Row(f"while trials train: {what}", ours, f"no lock: {peer}", f"idle: {idle}", target, n)
        for (what, target), ours, peer, idle in zip(titles, texts["lock"], texts["no lock"], texts["idle"], strict=True)
    ]


def _bias(own: Array, idle: Array) -> str:
    bias = own.mean(0) / idle.mean(0) - 1
    return f"{np.median(bias):+.1%} ({bias.min():+.0%} to {bias.max():+.0%})"


ROWS = {
    "ranges": range_rows,
    "itself": itself_rows,
    "busy": busy_rows,
    "cost": cost_rows,
    "training": training_rows,
}


def measure(part: str, seconds: float, repeats: int) -> None:
    """In a process of its own: one part."""
    os.nice(max(0, NICE - os.getpriority(os.PRIO_PROCESS, 0)))
    with tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch:
        give_result(PARTS[part][0](Path(scratch), seconds, repeats))


if __name__ == "__main__":
    measure(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
