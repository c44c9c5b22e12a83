"""What a driver keeps of each trial, so that long searches stay small."""

import gc
import json
import tracemalloc
from dataclasses import replace

from tricksearch.contract import discover
from tricksearch.records.record import Record
from tricksearch.search.loop import Loop
from tricksearch.store.folder import open_store

BYTES = 8000  # 4.5 KB a trial were seen, its record with 12 measures included
HARDWARE = {"cpu": "Xeon", "cores": 2, "memory_gib": 23.4, "gpus": [], "system": "Linux x86_64"}
VERSIONS = {f"package-{number}": f"{number}.0.1" for number in range(25)}


class Nobody:
    def __getattr__(self, name):
        return lambda *_: None


def test_a_trial_leaves_little_behind(tmp_path, make_study, make_record):
    """Although its record is kept, since a budget hangs on it."""
    study = make_study(search={"trials": 300, "sampler": "random", "stall": 1000})
    loop = Loop(
        study, discover(study.plugins), open_store(tmp_path, study, discover(study.plugins)), tmp_path, Nobody()
    )

    def run(trials):
        for _ in range(trials):
            job = loop.next()
            record = replace(make_record(job.trial, study.recipe({})), hardware=HARDWARE, versions=VERSIONS)
            row = replace(record, phase=job.phase, recipe=job.recipe, variant=0).to_json()
            loop.finish([Record.from_json(json.loads(json.dumps(row)))])  # as it comes from a worker

    run(60)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        run(100)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 100 < BYTES
