"""Stages are run once: what is known by its key is found again, and what a source changed is made anew."""

import shutil

import pytest

from tricksearch.contract import InputError
from tricksearch.records.constraints import Bound
from tricksearch.trial.cache import STAGES, Cache
from tricksearch.trial.job import Job
from tricksearch.trial.run import _tricks, run_trial

COUNTED = """
def weights(self, weights, bench):
    with open(HERE / "trainings.txt", "a") as log:
        log.write("one ")
    return weights
"""
SHIFT = """
claims = "precision"

def deploy(self, deployable, bench):
    import onnx
    model = onnx.load(str(deployable.path))
    path = bench.folder / "renamed.onnx"
    model.doc_string = "changed"
    onnx.save(model, str(path))
    return Deployable(path)
"""
PICKY = """
level: Annotated[int, Int(0, 9)] = 0

def __post_init__(self):
    if self.level > 5:
        raise ValueError("too high a level")

def deploy(self, deployable, bench):
    return deployable
"""
NARROW = """
def compress(self, net, bench):
    raise NotApplicable("too narrow")
"""


@pytest.fixture
def run(tiny_recipe, scratch, tmp_path, numbered_timings):
    """Run a trial and its variants (a mapping of tricks each) with one cache; returns records and stages run."""

    def go(variants=(), seed=0, bounds=(), number=0, **keys):
        notes = []
        _tricks.cache_clear()  # as in a new process: a plugin's file may have changed
        recipe = tiny_recipe(**keys)
        others = [recipe.model_copy(update={"tricks": tricks}) for tricks in variants]
        job = Job.of(recipe, seed, cache=tmp_path / "cache", variants=others, bounds=bounds, trial=number)
        records = run_trial(job, note=notes.append)
        return records, notes

    return go


@pytest.fixture
def counted(tricks):
    folder = tricks(counted=COUNTED)
    log = folder / "trainings.txt"
    return {"plugins": [str(folder)]}, lambda: len(log.read_text().split()) if log.exists() else 0


def measured(record):
    return {
        name: value
        for name, value in vars(record).items()
        if name not in ("started", "wall_seconds", "spent_seconds", "spent_epochs", "reused", "trial", "variant")
    }


def test_variants_share_one_training(run, counted):
    keys, trainings = counted
    on = {"counted": {}}
    records, notes = run([on | {"int8": {"images": 32}}, on | {"int8": {"images": 33}}], tricks=on, number=3, **keys)
    assert [record.id for record in records] == ["3", "3.1", "3.2"]
    assert [record.status for record in records] == ["finished"] * 3
    assert trainings() == 1
    assert notes.count("train") == notes.count("export") == 1
    assert notes.count("time") == 2, "both INT8 graphs have one shape, so one latency"
    assert records[1].latency_ms == records[2].latency_ms != records[0].latency_ms
    assert records[0].reused == []
    assert records[1].reused == ["train", "compress"]
    assert records[2].reused == ["train", "compress", "latency"]
    assert records[1].file_bytes != records[0].file_bytes
    assert len({record.train_seconds for record in records}) == 1


def test_what_is_known_is_not_run_again(run, counted):
    keys, trainings = counted
    first, _ = run(tricks={"counted": {}}, **keys)
    again, notes = run(tricks={"counted": {}}, **keys)
    assert (trainings(), notes) == (1, [])
    assert measured(again[0]) == measured(first[0])
    assert again[0].reused == ["train", "compress", "deploy", "score", "latency"]


@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        ({"train": {"epochs": 2}}, {"train", "compress", "export", "deploy", "measure"}),
        ({"seed": 1}, {"train", "compress", "export", "deploy", "measure"}),
        ({"data": {"train_images": 41}}, {"train", "compress", "export", "deploy", "measure"}),
        ({"net": {"widths": [16]}}, {"train", "compress", "export", "deploy", "measure", "time"}),
        ({"data": {"validation_images": 61}}, {"measure"}),
        ({"latency": {"blocks": 4}}, {"time"}),
        ({"latency": {"batch": 2}}, {"time"}),
    ],
)
def test_a_change_runs_again_what_it_can_change(run, change, rerun):
    run()
    assert set(run(**change)[1]) == rerun


def test_another_source_invalidates_what_it_touched_and_nothing_else(run, tricks):
    folder = tricks(counted=COUNTED, shift=SHIFT)
    keys = {"plugins": [str(folder)], "tricks": {"counted": {}, "shift": {}}}
    run(**keys)
    tricks(shift=SHIFT.replace("changed", "changed again"))
    assert set(run(**keys)[1]) == {"deploy", "measure"}
    tricks(counted=COUNTED.replace("one ", "two "))
    assert set(run(**keys)[1]) == {"train", "compress", "export", "deploy", "measure"}
    assert run(**keys)[1] == []


def test_words_in_a_source_invalidate_nothing(run, tricks):
    folder = tricks(counted=COUNTED, picky=PICKY)
    keys = {"plugins": [str(folder)], "tricks": {"counted": {}, "picky": {}}}
    run(**keys)
    told = PICKY.replace("too high a level", "such a level is too high")
    tricks(
        counted=COUNTED.replace("    with open", '    """Count."""\n    # it appends\n\n    with open'),
        picky=told.replace("def deploy", "# and now\ndef deploy"),
    )
    card = folder / "counted.py"
    card.write_text(card.read_text().replace("Use when: testing", "Use when: never"))
    records, notes = run(**keys)
    assert notes == []
    assert records[0].reused == list(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_damaged_entry_is_made_again(run, tmp_path, stage):
    first, _ = run()
    entries = list((tmp_path / "cache" / stage).glob("*/*"))
    assert entries
    for file in entries:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(bytes(content))
    again, _ = run()
    assert again[0].accuracy == first[0].accuracy
    assert again[0].status == "finished"
    assert run()[1] == []


def test_a_pruned_cache_costs_time_and_nothing_else(run, tmp_path):
    first, _ = run([{"int8": {"images": 32}}])
    gone, freed = Cache(tmp_path / "cache").prune(0)
    assert gone >= 8
    assert freed > sum(record.file_bytes for record in first)
    again, _ = run([{"int8": {"images": 32}}])
    assert [record.accuracy for record in again] == [record.accuracy for record in first]


def test_a_latency_of_a_machine_that_others_disturbed_is_not_handed_on(run, monkeypatch):
    monkeypatch.setattr("tricksearch.trial.measuring.stopwatch.Timing.reliable", False)
    run()
    assert run()[1] == ["time"]


def test_one_file_gone_is_an_entry_gone(run, tmp_path):
    run()
    (weights,) = (tmp_path / "cache" / "train").glob("*/weights.pt")
    weights.unlink()
    for stage in ("compress", "deploy"):
        shutil.rmtree(tmp_path / "cache" / stage)
    assert "train" in run()[1]


def test_a_bound_that_the_shape_breaks_is_rejected_without_training(run, counted):
    keys, trainings = counted
    bound = Bound("params", at_most=True, value=100, text="params <= 100")
    records, notes = run([{"counted": {}, "int8": {"images": 32}}], bounds=[bound], tricks={"counted": {}}, **keys)
    assert trainings() == 0
    assert "train" not in notes
    for record in records:
        assert record.status == "rejected"
        assert "which breaks params <= 100; seen before training" in record.reason
        assert record.accuracy is record.train_seconds is None
        assert record.params > 100
        assert record.latency_ms > 0
    assert records[1].file_bytes != records[0].file_bytes, "each variant is judged by its own file"


def test_a_variant_may_keep_a_bound_that_its_recipe_breaks(run, tiny_recipe):
    sizes = [record.file_bytes for record in run([{"int8": {"images": 32}}], net={"widths": [32]})[0]]
    bound = Bound("file_bytes", at_most=True, value=sum(sizes) / 2, text="file_bytes <= half")
    records, _ = run([{"int8": {"images": 32}}], bounds=[bound], net={"widths": [32]}, seed=5)
    assert [record.status for record in records] == ["rejected", "finished"]
    assert [record.file_bytes for record in records] == pytest.approx(sizes, rel=1e-3), "as it was foreseen"


def test_what_training_decides_is_not_foreseen(run, tricks, counted):
    keys, trainings = counted
    tricks(later="def foreseeable(self):\n    return False\n\ndef compress(self, net, bench):\n    return net\n")
    bound = Bound("params", at_most=True, value=100, text="params <= 100")
    records, _ = run(bounds=[bound], tricks={"counted": {}, "later": {}}, **keys)
    assert (records[0].status, trainings()) == ("finished", 1)


def test_a_training_that_fails_is_recorded_once(run, tricks):
    folder = tricks(bad="def loss(self, loss, bench):\n    raise ValueError('no')\n")
    records, _ = run([{"bad": {}, "int8": {}}], plugins=[str(folder)], tricks={"bad": {}})
    assert [(record.status, record.reason) for record in records] == [("failed", "ValueError: no")]


@pytest.mark.parametrize("bad", [0, 1])
def test_a_recipe_that_cannot_be_built_leaves_the_others(bad, run, tricks, counted):
    keys, trainings = counted
    tricks(picky=PICKY)
    on = [{"counted": {}, "picky": {"level": 9 if at == bad else at}} for at in range(3)]
    records, _ = run(on[1:], tricks=on[0], **keys)
    assert [record.tricks for record in records] == on
    assert [record.status == "finished" for record in records] == [at != bad for at in range(3)]
    assert "too high a level" in records[bad].reason
    assert trainings() == 1


def test_a_compression_that_fails_leaves_its_variants(run, tricks, counted):
    keys, trainings = counted
    tricks(narrow=NARROW)
    on = {"counted": {}, "narrow": {}}
    records, _ = run([{"counted": {}}, on | {"int8": {}}], tricks=on, **keys)
    assert [record.status for record in records] == ["failed", "finished", "failed"]
    assert records[2].reason == "too narrow"
    assert trainings() == 1


def test_a_cache_that_cannot_be_written_is_said(run, tmp_path):
    (tmp_path / "cache").write_text("a file of this name")
    with pytest.raises(InputError, match="the cache folder cannot be written"):
        run()
