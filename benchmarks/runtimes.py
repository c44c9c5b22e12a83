"""Runtimes by precisions: ResNet-18, trained briefly on real CIFAR-100 images, as each would ship.

    TRICKSEARCH_DATA=FOLDER python -m benchmarks runtimes [--epochs 2] [--images 4000]

One training, of which every combination of an available runtime and a precision is made; one thread, batch 1. The net
is far from trained: what is compared is what becomes of its accuracy, its latency and its size.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.support.common import Row, hardware_line, print_rows
from tricksearch.contract import InputError, defaults, discover
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record
from tricksearch.trial.data.load import load_data
from tricksearch.trial.data.official import ROOT_VARIABLE
from tricksearch.trial.job import Job
from tricksearch.trial.run import run_trial

IMAGES = 2000  # validation images that the accuracy is of
BASE: dict[str, dict[str, Any]] = {
    "data": {"name": "cifar100", "validation_images": IMAGES, "download": False},
    "net": {"name": "resnet18", "stem": "small"},
    "train": {"batch_size": 64, "lr": 0.05, "threads": 2},
}
PRECISIONS: dict[str, dict[str, dict[str, Any]]] = {
    "fp32": {},
    "bf16": {"half_precision": {"dtype": "bf16"}},
    "fp16": {"half_precision": {"dtype": "fp16"}},
    "int8": {"int8": {}},
}


def main(arguments: list[str]) -> list[Row]:
    """Train once, measure every combination; without the data, say what is missing."""
    parser = argparse.ArgumentParser(prog="runtimes", description=__doc__)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--cache", type=Path, help="keep the stages here, so that an interrupted run goes on")
    asked = parser.parse_args(arguments)
    base = Recipe.model_validate(
        BASE
        | {"data": {**BASE["data"], "train_images": asked.images}, "train": {**BASE["train"], "epochs": asked.epochs}}
    )
    if why := _missing(base):
        print(f"left out: {why}")
        return []
    print(hardware_line())
    registry = discover()
    able = [name for name in registry if registry[name].claims == "runtime" and registry[name].unavailable() is None]
    for name in registry:
        if registry[name].claims == "runtime" and name not in able:
            print(f"left out: {name}: {registry[name].unavailable()}")
    runtimes: list[dict[str, dict[str, Any]]] = [{}]
    runtimes += [{name: {}} for name in able]
    arms = list(itertools.product(runtimes, PRECISIONS))
    recipes = [
        base.model_copy(
            update={
                "tricks": {
                    name: defaults(registry[name]) | values
                    for name, values in sorted({**runtime, **PRECISIONS[precision]}.items())
                }
            }
        )
        for runtime, precision in arms
    ]
    with tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch:
        cache = asked.cache or Path(scratch)
        records = run_trial(Job.of(recipes[0], cache=cache, variants=recipes[1:]))
    if len(records) < len(arms):  # nothing is made of a training that fails, and a shorter table would not say so
        raise RuntimeError(f"{len(records)} of {len(arms)} arms were recorded; the first {_text(records[0])}")
    rows = [
        Row(f"{next(iter(runtime), 'ONNX Runtime (default)')}, {precision}", _text(record), _text(records[0]), "", "",
            f"{IMAGES} images, {record.latency_runs or 0} calls")
        for (runtime, precision), record in zip(arms, records, strict=True)
    ]  # fmt: skip
    print_rows(f"ResNet-18, {asked.images} images, {asked.epochs} epochs; the peer is fp32 in ONNX Runtime", rows)
    return rows


def _text(record: Record) -> str:
    if record.accuracy is None or record.latency_ms is None or (size := record.value("file_bytes")) is None:
        return f"{record.status}: {record.reason[:90]}"
    return f"{record.accuracy:.2f} %, {record.latency_ms:.2f} ms, {size / 1e6:.1f} MB"


def _missing(base: Recipe) -> str:
    if not os.environ.get(ROOT_VARIABLE):
        return f"set {ROOT_VARIABLE} to a folder with the official files of CIFAR-100"
    try:
        load_data(base.data)
    except InputError as error:
        return " ".join(str(error).split())
    return ""


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
