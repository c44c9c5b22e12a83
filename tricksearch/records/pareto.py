"""The Pareto front of measured points: its members, its knee, and the area that it dominates.

A point is a row of objectives; `maximize[j]` says whether more of objective j is better. A point dominates
another when it is at least as good on every objective and better on one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def front(points: Sequence[Sequence[float]], maximize: Sequence[bool]) -> list[int]:
    """The indices, ascending, of the points (n, d) that no other point dominates.

    Equal points do not dominate each other, so duplicates of a front member are all on the front.
    Two objectives take O(n log n); more take O(n x members of the front).
    Raises ValueError for a NaN, or where a row's length is not that of `maximize`.

    >>> front([(97.0, 0.4), (98.0, 0.5), (96.0, 0.6)], maximize=(True, False))
    [0, 1]
    """
    costs = _costs(points, maximize)
    if not len(costs):
        return []
    # np.unique sorts by the first column, then the second...: no row is dominated by a later one.
    rows, place = np.unique(costs, axis=0, return_inverse=True)
    if rows.shape[1] == 2:
        kept = np.ones(len(rows), dtype=bool)
        kept[1:] = rows[1:, 1] < np.minimum.accumulate(rows[:, 1])[:-1]
    else:
        kept = _sweep(rows)
    return [int(index) for index in np.flatnonzero(kept[place.reshape(-1)])]


def knee(points: Sequence[Sequence[float]], maximize: Sequence[bool]) -> int:
    """The index of the front's knee: the best compromise when no objective is worth more than another.

    Each objective of the front's points is scaled to [0, 1], 1 being the best that the front reaches. The
    knee lies farthest, towards the ideal, from the line (for more objectives: the hyperplane) through the
    points that are 1 on one objective and 0 on the others: Das 1999, "On characterizing the knee of the
    Pareto curve based on normal-boundary intersection". That distance grows with the sum of the scaled
    objectives, so the largest sum is the knee. A front that bulges away from the ideal has its knee at an
    end. Of equal sums the better first objective wins, then the smaller index.
    Raises ValueError where there is no point or one is not finite.

    >>> knee([(90.0, 0.1), (97.0, 0.2), (98.0, 0.9)], maximize=(True, False))
    1
    """
    members = front(points, maximize)
    if not members:
        raise ValueError("the knee of no points is not defined")
    costs = _costs(points, maximize)[members]
    if not np.isfinite(costs).all():
        raise ValueError("the knee needs finite points")
    worst, best = costs.max(axis=0), costs.min(axis=0)
    span = np.where(worst > best, worst - best, 1.0)
    # Rounded, so that ends whose sums differ by a rounding error alone still count as equal.
    gain = np.round(((worst - costs) / span).sum(axis=1), 12)
    return members[int(np.lexsort((np.array(members), costs[:, 0], -gain))[0])]


def hypervolume(points: Sequence[Sequence[float]], maximize: Sequence[bool], reference: Sequence[float]) -> float:
    """The exact volume that the points (n, d) dominate, bounded by the reference point; with two objectives an area.

    Its unit is the product of the objectives' units. A point that is not better than the reference on every
    objective adds nothing. Slice by slice along the last objective (While et al. 2006, "A faster algorithm for
    calculating hypervolume", HSO): O(n log n) for two objectives, O(n^(d-1)) for more.
    Raises ValueError for NaN or an infinite value.

    >>> hypervolume([(98.0, 0.5), (97.0, 0.25)], maximize=(True, False), reference=(90.0, 1.0))
    5.75
    """
    costs = _costs(points, maximize)
    corner = _costs([reference], maximize)[0]
    if not (np.isfinite(costs).all() and np.isfinite(corner).all()):
        raise ValueError("the hypervolume needs finite points and a finite reference")
    return _volume(costs[(costs < corner).all(axis=1)], corner)


def membership(
    means: Sequence[Sequence[float]],
    errors: Sequence[Sequence[float]],
    maximize: Sequence[bool],
    *,
    shared: Sequence[Sequence[float]] | None = None,
    groups: Sequence[Hashable] = (),
    draws: int = 400,
    seed: int = 0,
) -> list[float]:
    """How probable it is of each point that it is on the front, when its objectives are only known with an error.

    `means` and `errors`, standard errors, are rows (n, d); each objective's error is drawn from a normal distribution
    of its own. `shared` are errors (n, d) that come on top: points of one of the `groups` (n) have one draw of them
    between them, which makes all their objectives better or worse. Points that were timed in one measurement share
    its error so, and their order does not depend on it.
    Raises ValueError for a NaN, a negative error, or rows of another length.

    >>> membership([(98.0, 0.5), (97.0, 0.6)], [(0.0, 0.0), (0.0, 0.0)], maximize=(True, False))
    [1.0, 0.0]
    """
    plain = [False] * len(maximize)
    centres, spreads = _costs(means, maximize), _costs(errors, plain)
    common = np.zeros_like(spreads) if shared is None else _costs(shared, plain)
    if not centres.shape == spreads.shape == common.shape or (spreads < 0).any() or (common < 0).any():
        raise ValueError("each point needs an error of at least 0 for each objective")
    if shared is not None and len(groups) != len(centres):
        raise ValueError("each point needs a group where errors are shared")
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    group_of = np.array([numbers[group] for group in groups] or [0] * len(centres), dtype=int)
    random = np.random.default_rng(seed)
    counts = np.zeros(len(centres))
    near = _near(centres, np.hypot(spreads, common))
    for _ in range(draws):
        drawn = centres[near] + spreads[near] * random.standard_normal((len(near), len(maximize)))
        drawn += common[near] * random.standard_normal((len(numbers) or 1, 1))[group_of[near]]
        counts[near[front(drawn.tolist(), plain)]] += 1
    return [float(share) for share in counts / draws]


def _near(centres: Floats, spreads: Floats) -> NDArray[np.intp]:
    """The points (n, d) that no member of the front beats on every objective by more than five errors of both."""
    members = front(centres.tolist(), [False] * centres.shape[1])
    behind = np.zeros(len(centres), dtype=bool)
    for member in members:
        apart = 5 * np.hypot(spreads, spreads[member])
        behind |= ((centres - centres[member] > apart) & (centres - centres[member] > 0)).all(axis=1)
    return np.flatnonzero(~behind)


def _costs(points: Sequence[Sequence[float]], maximize: Sequence[bool]) -> Floats:
    """The points as costs, of which less is better, shape (n, d)."""
    dims = len(maximize)
    if not dims:
        raise ValueError("at least one objective is needed")
    for row in points:
        if len(row) != dims:
            raise ValueError(f"each point needs {dims} objectives, got {tuple(row)!r}")
    costs = np.asarray(points, dtype=np.float64).reshape(-1, dims)
    if np.isnan(costs).any():
        raise ValueError("a point holds NaN: leave out what was not measured")
    return np.where(np.asarray(maximize, dtype=bool), -costs, costs) + 0.0  # -0.0 becomes 0.0


def _volume(costs: Floats, corner: Floats) -> float:
    """What costs (n, d), each below the corner, dominate."""
    if not len(costs):
        return 0.0
    if costs.shape[1] == 1:
        return float(corner[0] - costs.min())
    rows = np.unique(costs[front(costs.tolist(), [False] * costs.shape[1])], axis=0)
    if costs.shape[1] == 2:
        # Along the first cost, each member's strip reaches to the next member, the last one's to the reference.
        widths = np.diff(np.append(rows[:, 0], corner[0]))
        return float((widths * (corner[1] - rows[:, 1])).sum())
    rows = rows[np.argsort(rows[:, -1], kind="stable")]
    ends = np.append(rows[1:, -1], corner[-1])
    slices = ((end - row[-1], rows[: at + 1, :-1]) for at, (row, end) in enumerate(zip(rows, ends, strict=True)))
    return float(sum(depth * _volume(below, corner[:-1]) for depth, below in slices if depth > 0))


def _sweep(rows: Floats) -> NDArray[np.bool_]:
    """Which of the sorted, distinct rows are on the front: each member in turn removes what it dominates."""
    left = np.arange(len(rows))
    position = 0
    while position < len(left):
        member = rows[left[position]]
        stays = (rows[left] < member).any(axis=1)
        stays[position] = True
        position = int(stays[:position].sum()) + 1
        left = left[stays]
    kept = np.zeros(len(rows), dtype=bool)
    kept[left] = True
    return kept
