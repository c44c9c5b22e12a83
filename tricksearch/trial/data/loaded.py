"""Data sets kept in memory for the next trial of this process."""

from __future__ import annotations

from tricksearch.records.settings import DataSettings
from tricksearch.trial.context import Note
from tricksearch.trial.data.dataset import DataSet
from tricksearch.trial.data.load import load_data

_loaded: dict[DataSettings, DataSet] = {}


def cached_data(settings: DataSettings, progress: Note | None = None) -> DataSet:
    """A data set, kept for the next trial of this process; `progress` is called with what is being done."""
    if settings not in _loaded:
        _loaded.clear()  # one at a time: a data set may be most of the memory
        _loaded[settings] = load_data(settings, progress)
    return _loaded[settings]


def forget_data() -> None:
    """Let the next trial read its data again: in a process that lives on, the files may be others by now."""
    _loaded.clear()


def keep_data(settings: DataSettings, data: DataSet) -> None:
    """Give the trials of this process a data set that `load_data` would not find here."""
    _loaded.clear()
    _loaded[settings] = data
