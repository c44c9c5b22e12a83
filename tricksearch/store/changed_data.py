"""Data that are not those of the records: a run goes on only with what it began with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tricksearch.store.facts import DATA
from tricksearch.store.store import Store

if TYPE_CHECKING:
    from tricksearch.trial.data import DataSet


def other_data(store: Store, data: DataSet) -> str | None:
    """What is different about this data set, in words, from that of the records of a store; None where nothing is.

    Of a run that an earlier version began only the number of images is known.
    """
    from tricksearch.trial.data.fingerprint import difference

    known = store.fact(DATA)
    if known is not None:
        return difference(known, data)
    measured = next((record.validation_images for record in store.records() if record.validation_images), None)
    if measured is None or measured == len(data.validation):
        return None
    return f"{len(data.validation)} validation images in place of {measured}"


def note_data(store: Store, data: DataSet) -> None:
    """Note what the records of a store are measured on from now on."""
    from tricksearch.trial.data.fingerprint import fingerprint

    known = store.fact(DATA)
    mark = fingerprint(data, known)
    if mark != known:
        store.put_fact(DATA, mark)
