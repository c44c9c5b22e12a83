"""Data sets: read from their files, split, and kept whole in memory as uint8."""

from tricksearch.trial.data.dataset import DataSet
from tricksearch.trial.data.load import KNOWN, check_name, check_settings, load_data

__all__ = ["KNOWN", "DataSet", "check_name", "check_settings", "load_data"]
