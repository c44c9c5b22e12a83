"""Train once, deploy many: one study with its variants and its cache, against the same study without them.

    python -m benchmarks variants [--trials 12]

Pruning, INT8, the number of threads and, where it is installed, OpenVINO, on digits; one process, one trial after
another. The peer draws from the same space by the same sampler, and trains each of its recipes anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.support.common import Row, hardware_line, print_rows, ratio
from tricksearch.contract import discover
from tricksearch.records.constraints import baseline_of
from tricksearch.records.pareto import hypervolume
from tricksearch.records.record import Record
from tricksearch.search.loop import Loop
from tricksearch.search.observer import Observer
from tricksearch.store.folder import held_folder, open_store
from tricksearch.study.study import load_study
from tricksearch.trial.run import run_job

TRICKS = ("pruning", "int8", "thread_count", "openvino")
VARIANTS, RATIO = 4, 2.0  # aimed at
CORNER = (50.0, 1.5)  # percent, and times the plain net's latency: milliseconds would move with the machine
STUDY = {
    "data": {"name": "digits", "validation": 0.5, "test": 0.3, "train_images": 200},
    "net": {"name": "resnet_small", "widths": [32, 64, 128], "blocks": 1},
    "train": {"epochs": 15, "batch_size": 32},
}


def main(arguments: list[str]) -> list[Row]:
    """Run both arms, in turn, over the same number of trials."""
    parser = argparse.ArgumentParser(prog="variants", description=__doc__)
    parser.add_argument("--trials", type=int, default=12)
    trials = parser.parse_args(arguments).trials
    print(hardware_line())
    registry = discover()
    tricks = [name for name in TRICKS if name in registry and registry[name].unavailable() is None]
    with tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as scratch:
        ours, seconds = _arm(Path(scratch) / "ours", tricks, trials, reuse=True)
        peer, peer_seconds = _arm(Path(scratch) / "peer", tricks, trials, reuse=False)
    if baseline_of(ours) is None:
        raise RuntimeError(f"the baseline did not finish: {ours[0].reason}")
    rows = _rows(ours, peer, seconds, peer_seconds)
    print_rows(f"digits, {trials} trials over {' x '.join(tricks)}; the peer is without reuse and branching", rows)
    return rows


def _arm(folder: Path, tricks: list[str], trials: int, reuse: bool) -> tuple[list[Record], float]:
    folder.mkdir()
    path = folder / "study.yaml"
    search = {"trials": trials, "startup": max(1, trials // 3)}
    study = STUDY | {"tricks": tricks, "search": search, "variants": "search" if reuse else "none"}
    path.write_text(yaml.safe_dump(study))
    start = time.perf_counter()
    loaded, registry = load_study(path), discover()
    with held_folder(folder / "run") as held:
        store = open_store(held, loaded, registry)
        loop = Loop(loaded, registry, store, held, Observer())
        while (job := loop.next()) is not None:
            with tempfile.TemporaryDirectory(dir=folder) as own:
                loop.finish(run_job(job if reuse else dataclasses.replace(job, cache=own)))
        records = store.records()
        store.close()
    return records, time.perf_counter() - start


def _rows(ours: list[Record], peer: list[Record], seconds: float, peer_seconds: float) -> list[Row]:
    def spent(records: list[Record]) -> float:
        return sum(record.spent_seconds for record in records)

    def trainings(records: list[Record]) -> int:
        """Trainings from the start and fine-tunings: whatever a record had to train itself."""
        return sum(record.spent_seconds > 0 for record in records)

    def volume(records: list[Record]) -> float:
        pairs = [(record.accuracy, record.value("latency_ratio")) for record in records]
        points = [(accuracy, times) for accuracy, times in pairs if accuracy is not None and times is not None]
        return hypervolume(points, (True, False), CORNER)

    def finished(records: list[Record]) -> int:
        return sum(record.finished for record in records)

    n = f"{len({record.trial for record in ours})} trials, one run each"
    variants, peer_variants = finished(ours) / trainings(ours), finished(peer) / trainings(peer)
    rate, peer_rate = volume(ours) / spent(ours), volume(peer) / spent(peer)
    return [
        Row("variants: measured for each training", f"{variants:.1f}", f"{peer_variants:.1f}", "",
            f"at least {VARIANTS}", n),
        Row("variants: records", str(finished(ours)), str(finished(peer)), "", "", n),
        Row("variants: seconds of training", f"{spent(ours):.1f}", f"{spent(peer):.1f}",
            ratio(spent(peer), spent(ours)), "", n),
        Row("variants: hypervolume (% x ratio)", f"{volume(ours):.3f}", f"{volume(peer):.3f}", "", "", n),
        Row("variants: hypervolume a second of training", f"{rate:.4f}", f"{peer_rate:.4f}", ratio(rate, peer_rate),
            f"at least {RATIO:.0f} x", n),
        Row("variants: wall time", f"{seconds:.0f} s", f"{peer_seconds:.0f} s", ratio(peer_seconds, seconds), "", n),
    ]  # fmt: skip
