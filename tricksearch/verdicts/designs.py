"""Designs: which settings to run, chosen before any result is seen."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Factors = Sequence[tuple[str, ...]]  # each factor is a tuple of rival tricks, of which at most one is on in a run
Kind = Literal["auto", "full", "fractional", "plackett_burman"]

# Box, Hunter & Hunter 2005, table 6.22, and its extension to 11 columns: what the columns after the base's stand for.
FRACTIONS = {
    5: "a b c d abcd",
    6: "a b c d e abcde",
    7: "a b c d e f abcdef",
    8: "a b c d e f abcd abef",
    9: "a b c d e f g acdfg bcefg",
    10: "a b c d e f g abcg bcde acdf",
    11: "a b c d e f g abcg bcde acdf abcdefg",
}
LOOKS = 10  # blocks of a design, at most: a look costs an analysis, and more of them gain nothing
FULL = 5  # two-level columns that are crossed fully at most, where the runs are left to choose
TRIES = 50  # draws of columns in which rivals can be told apart
WORDS = {
    "full": "full factorial",
    "fractional": "resolution V fraction",
    "plackett_burman": "Plackett-Burman folded over",
}


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


@dataclass(frozen=True)
class Design:
    """A two-level design in blocks, each of which is complete by itself: after each the results can be looked at.

    A single trick is one column. k rivals share ceil(log2(k + 1)) columns, whose level combinations stand for off and
    for each rival; the combinations left over are off (Addelman 1962). Within a block the columns of single tricks are
    balanced and orthogonal, so that what another trick does cancels out of an effect. A fold-over holds with each
    run its mirror image, which keeps interactions of two columns out of the main effects (Box & Wilson 1951). For
    rivals this holds less exactly: their levels use the product of their columns.
    """

    name: str
    factors: tuple[tuple[str, ...], ...]
    sizes: tuple[int, ...]  # runs of each block, in order
    pairs: bool  # the main effects and all pairs can be told apart
    kind: str  # of all blocks but the last one, which may be a fold-over
    base: int  # runs of the design that the blocks repeat

    def block(self, number: int, seed: int, undecided: Collection[str] | None = None) -> list[tuple[str, ...]]:
        """The tricks that are on in each run of a block, sorted, in random order of the runs.

        Columns and signs are drawn anew for each block. With `undecided`, the decided ones among rivals are no longer
        drawn, and their runs go to the others; a decided single trick is varied on, because all runs tell of all
        tricks: leaving it out would free no run, and would change what the effects are averaged over.
        Raises ValueError where the design has no such block.
        """
        import numpy as np

        if not 0 <= number < len(self.sizes):
            raise ValueError(f"the design has blocks 0 to {len(self.sizes) - 1}, and no block {number}")
        factors = [_open(factor, undecided) for factor in self.factors]
        size, columns = self.sizes[number], _columns(factors)
        matrix = _matrix("plackett_burman" if size % self.base else self.kind, size, columns)
        rng = np.random.default_rng([seed, number])
        for _ in range(TRIES):
            chosen = rng.permutation(matrix.shape[1])[:columns]
            levels = matrix[:, chosen] * rng.choice([-1, 1], columns)
            runs = _decode(factors, rng.permutation(levels) > 0, number)
            if _estimable(factors, runs):
                return runs
        raise ValueError(f"{size} runs do not tell the rivals of {columns} columns apart: allow more runs")


def choose(factors: Factors, runs: int, kind: Kind = "auto") -> Design:
    """The design for the factors within a number of runs.

    auto: the full factorial of up to five columns where it fits; a fraction of resolution V where it fits; else
    Plackett & Burman (1946) folded over. The design is repeated in blocks, ten at most, as far as the runs reach; what
    is left goes into the last block. Raises ValueError where a trick stands twice, or the runs are too few.

    >>> choose([(f"trick_{number}",) for number in range(10)], 60).sizes
    (24, 32)
    """
    tricks = [trick for factor in factors for trick in factor]
    if not tricks or not all(factors):
        raise ValueError("a design needs at least one trick in each factor: name the tricks to compare")
    if len(set(tricks)) < len(tricks):
        raise ValueError(f"'{next(t for t in tricks if tricks.count(t) > 1)}' stands in the design twice: name it once")
    columns, singles = _columns(factors), len(tricks) == len(factors)
    if kind == "fractional" and columns not in FRACTIONS:
        raise ValueError(
            f"a resolution V fraction is known for {min(FRACTIONS)} to {max(FRACTIONS)} columns, and this design has "
            f"{columns}: use {'full' if columns < min(FRACTIONS) else 'plackett_burman'}"
        )
    chosen = _kind(factors, runs) if kind == "auto" else kind
    sizes = list(_sizes(chosen, factors, runs))
    if not sizes:
        fewest = next(_possible(chosen, factors, 1))
        raise ValueError(
            f"{runs} runs are too few for {len(tricks)} tricks: a {WORDS[chosen]} needs at least {fewest} runs; "
            "allow so many, or leave out tricks"
        )
    pairs = sum(len(one) * len(two) for at, one in enumerate(factors) for two in factors[:at])
    return Design(
        f"{WORDS[chosen]}, {' + '.join(map(str, sizes))} runs",
        tuple(tuple(factor) for factor in factors),
        tuple(sizes),
        (chosen == "full" or (chosen == "fractional" and singles)) and sum(sizes) > 1 + len(tricks) + pairs,
        chosen,
        _smallest(chosen, columns),
    )


def _kind(factors: Factors, runs: int) -> str:
    # Of up to two columns, nothing is smaller than the full factorial.
    if _columns(factors) <= 2 or (_columns(factors) <= FULL and next(_possible("full", factors, 1)) <= runs):
        return "full"
    if _columns(factors) in FRACTIONS and next(_possible("fractional", factors, 1)) <= runs:
        return "fractional"
    return "plackett_burman"


def _sizes(kind: str, factors: Factors, runs: int) -> Iterator[int]:
    """The runs of each block; none where not even one block fits."""
    size = next(_until(_possible(kind, factors, math.ceil(runs / LOOKS)), runs), None)
    if size is None:
        return
    count, rest = divmod(runs, size)
    if kind == "plackett_burman":
        yield from [size] * (count - 1)
        yield max(_until(_possible(kind, factors, size), size + rest))
        return
    yield from [size] * count
    yield from list(_until(_possible("plackett_burman", factors, 1), rest))[-1:]


def _until(sizes: Iterator[int], most: int) -> Iterator[int]:
    for size in sizes:
        if size > most:
            return
        yield size


def _possible(kind: str, factors: Factors, least: int) -> Iterator[int]:
    """The sizes of a complete block, ascending, that leave a degree of freedom for the noise."""
    columns, effects = _columns(factors), 1 + sum(map(len, factors))
    smallest = _smallest(kind, columns)
    size = smallest
    while True:
        if size >= least and size > effects and (kind != "plackett_burman" or _drawable(factors, size)):
            yield size
        size += smallest if kind != "plackett_burman" else 8
        while kind == "plackett_burman" and not _hadamard_known(size // 2):
            size += 8


def _smallest(kind: str, columns: int) -> int:
    """The runs of the smallest design of a kind."""
    if kind == "full":
        return int(2**columns)
    if kind == "fractional":
        return len(_fraction(columns))
    size = 8
    while size < 2 * columns or not _hadamard_known(size // 2):
        size += 8
    return size


def _hadamard_known(order: int) -> bool:
    """Whether pyDOE3 has the matrix: 4, 12 or 20, doubled any number of times."""
    odd = order // (order & -order)
    return order % 4 == 0 and odd in (1, 3, 5)


def _drawable(factors: Factors, size: int) -> bool:
    if all(len(factor) == 1 for factor in factors):
        return True
    trial = Design("", tuple(factors), (size,), False, "plackett_burman", size)
    try:
        trial.block(0, 0)
    except ValueError:
        return False
    return True


def _columns(factors: Factors) -> int:
    return sum(len(factor).bit_length() for factor in factors)  # ceil(log2(k + 1)) is k's number of bits


def _open(factor: tuple[str, ...], undecided: Collection[str] | None) -> tuple[str, ...]:
    """The rivals that are still drawn: all where none is undecided, for the sake of the other factors' average."""
    return tuple(trick for trick in factor if undecided is None or trick in undecided) or factor


def _decode(factors: Factors, levels: Any, turn: int) -> list[tuple[str, ...]]:
    """Levels (n, columns), true and false, as tricks that are on; the rivals' order is turned by `turn`."""
    runs: list[list[str]] = [[] for _ in range(len(levels))]
    first = 0
    for factor in factors:
        last = first + len(factor).bit_length()
        codes = levels[:, first:last] @ [1 << bit for bit in range(last - first)]
        for run, code in zip(runs, codes.tolist(), strict=True):
            if 1 <= code <= len(factor):
                run.append(factor[(code - 1 + turn) % len(factor)])
        first = last
    return [tuple(sorted(run)) for run in runs]


def _estimable(factors: Factors, runs: Sequence[tuple[str, ...]]) -> bool:
    """Whether every main effect can be told from all others; always so where no factor has rivals."""
    import numpy as np

    if all(len(factor) == 1 for factor in factors):
        return True
    tricks = [trick for factor in factors for trick in factor]
    coded = np.array([[1.0] + [trick in run for trick in tricks] for run in runs])
    return bool(np.linalg.matrix_rank(coded) == coded.shape[1])


def _matrix(kind: str, size: int, columns: int) -> Any:
    """A block's levels of -1 and 1, shape (size, at least `columns`)."""
    import numpy as np

    if kind == "plackett_burman":
        return _folded(size)
    # Where rivals are no longer drawn, so few columns may be left that all of their levels can be crossed.
    base = _full(columns) if kind == "full" or columns not in FRACTIONS else _fraction(columns)
    return np.tile(base, (size // len(base), 1))


@functools.cache
def _full(columns: int) -> Any:
    import pyDOE3

    return pyDOE3.ff2n(columns)


@functools.cache
def _fraction(columns: int) -> Any:
    import pyDOE3

    return pyDOE3.fracfact(FRACTIONS[columns])


@functools.lru_cache(maxsize=16)
def _folded(size: int) -> Any:
    """A Plackett-Burman design, its constant column used as well, above its mirror image: (size, size / 2)."""
    import numpy as np
    import pyDOE3

    plackett_burman = pyDOE3.pbdesign(size // 2 - 1)
    whole = np.column_stack((np.ones(size // 2), plackett_burman))
    return np.vstack((whole, -whole))
