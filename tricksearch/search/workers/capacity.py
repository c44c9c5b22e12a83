"""How many trials a cluster has room for, now and when nodes have come or gone."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

import ray

from tricksearch.contract import InputError
from tricksearch.study.study import Study

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between two looks at what the cluster's nodes are
JOINING = 60.0  # seconds that a cluster's first nodes get to join


def gpus_of_a_trial(study: Study, address: str | None = None) -> float:
    """The GPUs that Ray gives a trial, in parts of one.

    The device `auto` is a GPU where a node has one; of a cluster, the nodes that have joined when the first one is
    there that a trial fits on. Raises InputError where the study names one GPU, or where no such node joins.
    """
    device = study.train.device
    if ":" in device:
        raise InputError(
            f"'{device}' names one GPU, and under Ray each trial is given one",
            place="train.device",
            remedy="write cuda, or use --local",
        )
    if device == "auto" and address:
        _await_first(study.train.threads, 0.0)
        _fitting(study.train.threads, 0.0)
    if device == "cuda" or (device == "auto" and any(node.get("GPU", 0) >= 1 for node in _nodes())):
        return 1.0 if study.search.gpus is None else study.search.gpus
    if device == "auto" and address:
        log.warning(
            "no node of the cluster has a GPU by now, so all trials run on the CPU, also on nodes that join later: "
            "where these have GPUs, set train.device to cuda"
        )
    return 0.0


def room_for(threads: int, gpus: float, workers: int | None, address: str | None) -> Callable[[], int]:
    """How many trials may run at a time, as a function to ask again: nodes of a cluster come and go.

    Raises InputError where no trial fits and it is not known that more nodes are to come.
    """
    if address and workers:
        return lambda: workers  # those that do not fit wait, and an autoscaler sees them wait
    if address:
        _await_first(threads, gpus)
    fitting = min(workers or sys.maxsize, _fitting(threads, gpus))
    if not address:
        return lambda: fitting
    looked = time.monotonic()

    def room() -> int:
        nonlocal fitting, looked
        if time.monotonic() - looked > LOOK_EVERY:
            fitting, looked = max(1, _fits(_nodes(), threads, gpus)), time.monotonic()
        return fitting

    return room


def _await_first(threads: int, gpus: float) -> None:
    """Wait until a trial fits on a node of the cluster, or for so long as its first nodes get to join."""
    end = time.monotonic() + JOINING
    while not _fits(_nodes(), threads, gpus) and time.monotonic() < end:
        time.sleep(0.2)


def _nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _fits(nodes: list[dict[str, float]], threads: int, gpus: float) -> int:
    on_each = int(1 / gpus + 1e-9) if gpus else sys.maxsize  # what is left of one GPU does not add up to another
    return sum(
        min(int(node.get("CPU", 0)) // threads, int(node.get("GPU", 0)) * on_each if gpus else sys.maxsize)
        for node in nodes
    )


def _fitting(threads: int, gpus: float) -> int:
    """How many trials the cluster holds at a time. Raises InputError where no node holds one."""
    nodes = _nodes()
    fit = _fits(nodes, threads, gpus)
    if fit < 1:
        have = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise InputError(
            f"no worker fits: a trial takes {threads} CPU threads and {gpus:g} GPUs, the nodes have {have}",
            remedy="lower train.threads, or name a train.device, cpu or cuda",
        )
    return fit
