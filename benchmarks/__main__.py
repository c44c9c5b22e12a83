"""Run the benchmarks that are named, or all of them, and print their results in one table at the end.

python -m benchmarks [NAME ...]
python -m benchmarks NAME OPTIONS     # of that one: see its own text
"""

from __future__ import annotations

import importlib
import itertools
import sys

from benchmarks.support.common import Row, hardware_line, print_rows

NAMES = (
    "samplers",
    "engine_cost",
    "demo",
    "epochs_saved",
    "stopwatch",
    "variants",
    "runtimes",
    "zoo",
    "stopping",
    "storm",
    "verdict_studies",
    "arms",
    "chances",
    "truth",
    "placebos",
    "cuda",
    "real_data",
)


def main(arguments: list[str]) -> None:
    """The named benchmarks, or all; the options are those of a single one."""
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))
    options = arguments[len(names) :]
    unknown = [name for name in names if name not in NAMES]
    if unknown or (options and len(names) != 1):
        sys.exit(f"usage: python -m benchmarks [NAME ...] | NAME OPTIONS of that one; names: {', '.join(NAMES)}")
    rows: list[Row] = []
    for name in names or NAMES:
        print(f"\n== {name}", flush=True)
        rows += importlib.import_module(f"benchmarks.{name}").main(options)
    if len(names) != 1:
        print()
        print(hardware_line())
        print_rows("All of these benchmarks", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
