"""Placebos on real images: how often a screen calls a trick that does nothing a help or a harm.

    python -m benchmarks placebos [--screens 400] [--runs 8] [--first-seed 0]

Two seeded placebos, one that does nothing and one that permutes each batch, are screened on digits again and again,
each screen with seeds of its own; every run of every screen trains, exports and measures. Asked for: a placebo called
"helps" or "hurts" on a measure in at most 5 % of the screens.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.support.common import ROOT, Row, hardware_line, print_rows
from tricksearch.records.record import Record
from tricksearch.verdicts.verdict import HELPS, HURTS, Verdict

PROCESSES = 2
TARGET = 0.05
STUDY = {
    "plugins": [str(ROOT / "benchmarks" / "placebo_tricks")],
    "tricks": ["placebo_idle", "placebo_shuffle"],
    "data": {"name": "digits", "validation": 0.5, "test": 0.3, "train_images": 200},
    "net": {"name": "resnet_small", "widths": [8], "blocks": 1},
    "train": {"epochs": 4, "batch_size": 32},
    "latency": {"seconds": 0.2, "block_seconds": 0.002},
    "phases": ["screen"],
    "variants": "none",
}


def main(arguments: list[str]) -> list[Row]:
    """Run the screens in two processes and count what they say."""
    parser = argparse.ArgumentParser(
        prog="placebos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--screens", type=int, default=400)
    parser.add_argument("--first-seed", type=int, default=0, help="of the screens, each of which has its own")
    parser.add_argument("--runs", type=int, default=8, help="trials of each screen")
    asked = parser.parse_args(arguments)
    print(hardware_line())
    jobs = [(seed, asked.runs) for seed in range(asked.first_seed, asked.first_seed + asked.screens)]
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        screens = list(pool.imap(screened, jobs))
    wrong: collections.Counter[str] = collections.Counter()
    outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
    for verdicts in screens:
        wrong.update({verdict.measure for verdict in verdicts if verdict.says in (HELPS, HURTS)})
        outcomes.update((verdict.measure, f"{verdict.says} ({verdict.trick})") for verdict in verdicts)
    n = f"{asked.screens} screens x {asked.runs} trainings"
    rows = [
        Row(
            f"placebos: screens that call one of two a help or a harm, {measure}",
            f"{wrong[measure] / asked.screens:.1%}",
            target=f"at most {TARGET:.0%}",
            n=f"{n}; {', '.join(f'{count} {says}' for (of, says), count in sorted(outcomes.items()) if of == measure)}",
        )
        for measure in sorted({of for of, _ in outcomes})
    ]
    print_rows("Placebos on real digits", rows)
    return rows


def screened(job: tuple[int, int]) -> list[Verdict]:
    """One screen, really run, in this process."""
    import torch

    from tricksearch.contract import discover
    from tricksearch.search.phases.screen import Screen
    from tricksearch.search.space.space import Space
    from tricksearch.study.study import load_study
    from tricksearch.trial.job import Job
    from tricksearch.trial.run import run_trial

    seed, runs = job
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="tricksearch-placebo-") as folder:
        path = Path(folder) / "placebos.yaml"
        path.write_text(yaml.safe_dump(STUDY | {"search": {"seed": seed}, "screen": {"runs": runs}}))
        study = load_study(path)
        screen = Screen(study, Space.of(study, discover(study.plugins)))
        records: list[Record] = []
        wanted = [run for run in screen.plan([]) if run.phase == "screen"]
        while wanted:
            for run in wanted:
                cache = Path(folder) / "cache"
                options: dict[str, Any] = {"trial": len(records), "phase": "screen", "fresh": True}
                made = run_trial(Job.of(run.recipe, run.seed, cache=cache, **options))
                records.append(replace(made[0], phase="screen"))
            marks = {(record.seed, len(record.tricks)) for record in records}
            wanted = [
                run
                for run in screen.plan(records)
                if run.phase == "screen" and (run.seed, len(run.recipe.tricks)) not in marks
            ]
        failed = [record for record in records if not record.finished]
        if failed:
            raise RuntimeError(f"a run of the screen with seed {seed} failed: {failed[0].reason}")
        return screen.verdicts(records)[0]


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
