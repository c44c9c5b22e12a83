"""Designs: which settings to run, chosen before any result is seen."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence


def balanced(switches: Mapping[str, Sequence[str]], runs: int, seed: int) -> list[dict[str, str]]:
    """A random start that neglects nothing: over `runs` runs, each option of each switch stands equally often (+-1).

    This is Latin hypercube sampling (McKay et al. 1979) for factors with a few levels.

    >>> [run["a"] for run in balanced({"a": ["off", "on"]}, 4, seed=0)].count("on")
    2
    """
    columns: dict[str, list[str]] = {}
    for name, options in sorted(switches.items()):
        draw = random.Random(f"{seed}:{name}")
        order = list(options)
        draw.shuffle(order)
        column = [order[run % len(order)] for run in range(runs)]
        draw.shuffle(column)
        columns[name] = column
    return [{name: column[run] for name, column in columns.items()} for run in range(runs)]
