"""Run the benchmarks that are named, or all of them, and print their results in one table at the end."""

from __future__ import annotations

import importlib
import sys

from benchmarks.common import Row, hardware_line, print_rows

NAMES = (
    "samplers",
    "engine_cost",
    "demo",
    "epochs_saved",
    "stopwatch",
    "variants",
    "runtimes",
    "stopping",
    "storm",
    "verdict_studies",
    "truth",
    "placebos",
    "cuda",
    "real_data",
)


def main(arguments: list[str]) -> None:
    """`python -m benchmarks` runs all; `python -m benchmarks NAME [OPTIONS]` runs one with its options."""
    if arguments and arguments[0] not in NAMES:
        sys.exit(f"usage: python -m benchmarks [{' | '.join(NAMES)}] [OPTIONS of that one]")
    rows: list[Row] = []
    for name in [arguments[0]] if arguments else NAMES:
        print(f"\n== {name}", flush=True)
        rows += importlib.import_module(f"benchmarks.{name}").main(arguments[1:])
    if not arguments:
        print()
        print(hardware_line())
        print_rows("All benchmarks", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
