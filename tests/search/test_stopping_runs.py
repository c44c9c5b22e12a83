"""A real study whose trials are stopped: on Ray, killed there, and gone on with in one process."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter

import psutil
from optuna.trial import TrialState

from tests.search.observer import Listener
from tricksearch.records.recipe import Recipe
from tricksearch.report.tables import records_table
from tricksearch.search.driver import run_study
from tricksearch.search.loop import Loop
from tricksearch.search.phases.proposer import Proposer
from tricksearch.search.space.space import Space
from tricksearch.store.folder import read_store
from tricksearch.store.store import Store
from tricksearch.trial.cache import Cache

TRIALS, EPOCHS, RUNGS = 14, 8, (2, 6)
STUDY = {
    "data": {"name": "digits", "validation": 0.3, "test": 0.3, "train_images": 40},
    "net": {"widths": [8], "blocks": 1},
    "train": {"epochs": EPOCHS, "batch_size": 20},
    "latency": {"seconds": 0.05, "precision": 0.5, "block_seconds": 0.001},
    "search": {"trials": TRIALS, "startup": TRIALS, "stopping": {"min_epochs": RUNGS[0], "min_rivals": 2}},
}


def read(folder):
    store = read_store(folder)
    try:
        return store.records(), store.reports()
    finally:
        store.close()


def statuses(folder):
    """Those of the records, read beside the run."""
    try:
        with sqlite3.connect(f"file:{folder / 'store.db'}?mode=ro", uri=True, timeout=10) as connection:
            return [status for (status,) in connection.execute("select status from records")]
    except sqlite3.OperationalError:
        return []  # the store is being made


def stopped(records):
    return [record for record in records if record.status == "stopped"]


def run_on_ray_until_killed(study, folder):
    """Start the command, and kill it when some trials have ended and one was stopped; returns what is stored."""
    main = [sys.executable, "-c", "from tricksearch.cli import main; main()"]
    log = folder.with_suffix(".log")
    with log.open("w") as out:
        command = [*main, "run", str(study), "--out", str(folder), "--workers", "2"]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        end = time.monotonic() + 600
        while len(statuses(folder)) < 5 or "stopped" not in statuses(folder):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    workers = [child for child in family if child.is_running() and "Trainable" in _command(child)]
    _, alive = psutil.wait_procs(workers, timeout=300)
    assert not alive, "a worker that stood at a rung outlives its driver"
    return read(folder)


def _command(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_a_study_that_stops_trials_survives_a_kill(tmp_path, make_study, registry_of):
    study, folder = make_study(**STUDY), tmp_path / "run"
    before, reports_before = run_on_ray_until_killed(tmp_path / "study.yaml", folder)
    assert 5 <= len(before) < TRIALS
    known = Counter(epoch for trial, epoch, _ in reports_before if trial in {record.trial for record in before})

    records = run_study(study, folder, Listener(), local=True)

    _, reports = read(folder)
    assert [record.trial for record in records] == list(range(TRIALS))
    stored = [json.dumps(record.to_json()) for record in records]  # without what the front's timing laid over them
    assert {json.dumps(record.to_json()) for record in before} <= set(stored)
    assert {record.status for record in records} == {"finished", "stopped"}
    assert records[0].finished  # the baseline
    after = [record for record in stopped(records) if record.trial not in {each.trial for each in before}]
    assert stopped(before)
    assert after

    told = {record.trial: [epoch for trial, epoch, _ in reports if trial == record.trial] for record in records}
    for record in records:
        if record.finished:
            # Its net may have been trained already when the run was killed, and then nothing is left to tell.
            assert told[record.trial] == ([] if "train" in record.reused else list(RUNGS))
            continue
        assert (record.accuracy, record.latency_ms) == (None, None)
        assert 0 < record.train_seconds < record.spent_seconds
        epoch, ahead, others = map(int, re.search(r"epoch (\d+) .* behind (\d+) of the (\d+)", record.reason).groups())
        assert told[record.trial] == [rung for rung in RUNGS if rung <= epoch]
        assert 2 <= others < TRIALS
        assert ahead >= (others + 1) / 3
        if record in after:  # what the run that was killed had seen still counts
            assert others >= known[epoch]
    assert sum(told[record.trial][-1] if not record.finished else EPOCHS for record in records) < TRIALS * EPOCHS

    trained = [entry for entry in Cache(folder / "cache").usage() if entry.stage == "train"]
    assert len(trained) == len(records) - len(stopped(records))
    assert {record.status for record in study.goals.front(records)} == {"finished"}
    table = records_table(records)
    assert (table["status"] == "stopped").sum() == len(stopped(records))

    proposer = Proposer(study, Space.of(study, registry_of(study)), records)
    told = proposer._sampler.outcomes
    assert Counter(each.values is None for each in told) == {
        False: len(records) - len(stopped(records)),
        True: len(stopped(records)),
    }
    assert all(each.stopped == (each.values is None) for each in told)


def test_the_variants_of_a_stopped_trial_may_be_proposed_themselves(tmp_path, make_study, make_record, registry_of):
    fixed = {"mode": "static", "per_channel": True, "method": "minmax"}
    study = make_study(tricks={"int8": fixed})  # its space has two recipes
    cases = (("stopped", 1, [{"int8"}]), ("finished", 2, []), ("finished", 1, [{"int8"}]))
    for status, reached, left in cases:  # the last one's process ended before the variant's turn
        store = Store.at(tmp_path / f"{status}{reached}.db")
        loop = Loop(study, registry_of(study), store, tmp_path, Listener())
        job = loop.next()
        assert [set(tricks) for tricks in job.variants] == [{"int8"}]
        forms = [job.recipe["tricks"], *job.variants][:reached]
        recipes = [Recipe.model_validate(job.recipe | {"tricks": tricks}) for tricks in forms]
        loop.finish([make_record(0, recipe, status=status, variant=at) for at, recipe in enumerate(recipes)])
        job = loop.next()
        assert ([set(job.recipe["tricks"])] if job else []) == left
        store.close()


def test_a_stopped_trial_is_told_as_pruned(make_study, make_record, registry_of):
    study = make_study(search={"sampler": "tpe"})
    proposer = Proposer(study, Space.of(study, registry_of(study)))
    for status in ("finished", "stopped", "failed"):
        proposal = proposer.propose()
        proposer.tell(make_record(proposal.trial, proposal.recipe, status=status, phase=proposal.phase))
    # The baseline is remembered, not asked for; recipes that were drawn twice are told as failed too.
    states = [trial.state for trial in proposer._sampler._study.trials]
    assert [state for state in states if state != TrialState.FAIL] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert states[-1] == TrialState.FAIL
