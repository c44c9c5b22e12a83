"""Stratified splits and subsets: seeded, and the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tricksearch.contract import InputError
from tricksearch.trial.data.dataset import Labels

Indices = NDArray[np.int64]


def split(
    labels: Labels, classes: Sequence[str], shares: Sequence[float], seed: int, source: str
) -> tuple[Indices, ...]:
    """Divide images among parts: first the rest, then one part for each share of the whole, class by class.

    Each part holds at least one image of each class, and the parts' order is random but fixed by the seed.
    Raises InputError naming a class that has fewer images than there are parts.
    """
    parts = len(shares) + 1
    counts = np.bincount(labels, minlength=len(classes))
    short = np.flatnonzero(counts < parts)
    if len(short):
        first = short[0]
        raise InputError(
            f"class '{classes[first]}' has {_images(counts[first])}, too few for {parts} splits",
            place=source,
            remedy="add images of this class, or leave the class out",
        )
    taken = np.zeros_like(counts)
    takes: list[Indices] = []
    for share in shares:
        # One image of the class stays for each part that still has to be filled.
        most = counts - taken - (parts - 1 - len(takes))
        takes.append(apportion(round(share * len(labels)), counts, most))
        taken += takes[-1]
    by_class = _shuffled_by_class(labels, len(classes), seed)
    groups: list[list[Indices]] = [[] for _ in range(parts)]
    for label, indices in enumerate(by_class):
        ends = np.cumsum([take[label] for take in takes])
        pieces = np.split(indices, ends)
        for place, piece in enumerate([pieces[-1], *pieces[:-1]]):
            groups[place].append(piece)
    return tuple(_shuffled(np.concatenate(pieces), seed) for pieces in groups)


def subset(labels: Labels, classes: Sequence[str], count: int, seed: int, key: str) -> Indices:
    """`count` images, each class in proportion and at least one of each. `key` is the setting's name.

    Raises InputError where there are fewer images, or more classes, than `count`.
    """
    counts = np.bincount(labels, minlength=len(classes))
    present = int((counts > 0).sum())
    if count > len(labels):
        raise InputError(
            f"{count} images are asked for and {len(labels)} are available",
            place=f"data.{key}",
            remedy=f"give at most {len(labels)}, or leave it out to use them all",
        )
    if count < present:
        raise InputError(
            f"{count} images cannot hold one of each of the {present} classes",
            place=f"data.{key}",
            remedy=f"give at least {present}",
        )
    takes = apportion(count, counts, counts)
    by_class = _shuffled_by_class(labels, len(classes), seed)
    chosen = [indices[:take] for indices, take in zip(by_class, takes, strict=True)]
    return _shuffled(np.concatenate(chosen), seed)


def apportion(total: int, weights: Indices, most: Indices) -> Indices:
    """Whole numbers in proportion to the weights, by the largest remainder, that sum to `total`.

    Each is at least 1 where its weight is positive and at most its entry of `most`; where these bounds do not
    leave room for `total`, the sum is as near to it as they allow.

    >>> apportion(10, np.array([60, 30, 10, 1]), np.array([60, 30, 10, 1])).tolist()
    [5, 3, 1, 1]
    """
    whole = int(weights.sum())
    least = np.minimum(1, np.minimum(weights, most))
    counts = np.clip(total * weights // whole, least, most)
    total = min(max(total, int(least.sum())), int(most.sum()))
    while (gap := total - int(counts.sum())) != 0:
        # In whole numbers, so that no rounding of floats can differ between machines.
        owed = total * weights - counts * whole
        free = counts < most if gap > 0 else counts > least
        owed = np.where(free, owed if gap > 0 else -owed, np.iinfo(np.int64).min)
        counts[np.argmax(owed)] += 1 if gap > 0 else -1
    return counts


def _shuffled_by_class(labels: Labels, classes: int, seed: int) -> list[Indices]:
    # The raw stream of a bit generator is numpy's one promise across versions and platforms;
    # what `permutation` makes of it is not.
    order = np.lexsort((np.random.PCG64(seed).random_raw(len(labels)), labels))
    ends = np.cumsum(np.bincount(labels, minlength=classes))
    return list(np.split(order, ends[:-1]))


def _shuffled(indices: Indices, seed: int) -> Indices:
    # Mixed, not class after class, so that the first images of a split are a fair sample of it.
    return indices[np.argsort(np.random.PCG64([seed, 1]).random_raw(len(indices)), kind="stable")]


def _images(count: int) -> str:
    return "no image" if count == 0 else "1 image" if count == 1 else f"{count} images"
