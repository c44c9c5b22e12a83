"""What the phases ask of a trial: the test split, which nothing else reads, and a latency of its own."""

import dataclasses

import pytest

from tricksearch.trial import run as trials
from tricksearch.trial.data import DataSet, load_data, loaded
from tricksearch.trial.job import Job
from tricksearch.trial.run import run_trial


class WasRead(Exception):
    pass


class Sealed(DataSet):
    """A data set whose test images may not even be looked at."""

    def __getattribute__(self, name):
        if name == "test":
            raise WasRead
        return super().__getattribute__(name)


@pytest.fixture(autouse=True)
def patient(scratch, numbered_timings, monkeypatch):
    monkeypatch.setattr(loaded, "_loaded", {})


@pytest.fixture
def run(tiny_recipe, tmp_path):
    """Run one trial with one cache; returns its record and the stages that were run."""

    def go(number=0, seed=0, variants=(), recipe=None, **options):
        notes, recipe = [], recipe or tiny_recipe()
        others = [recipe.model_copy(update={"tricks": tricks}) for tricks in variants]
        job = Job.of(recipe, seed, cache=tmp_path / "cache", variants=others, trial=number, **options)
        records = run_trial(job, note=notes.append, reraise=(Exception,))
        return records, notes

    return go


def test_only_test_reads_the_test_images(run, tiny_recipe):
    recipe = tiny_recipe(tricks={"int8": {"images": 32}})
    data = load_data(recipe.data)
    sealed = Sealed(**{each.name: getattr(data, each.name) for each in dataclasses.fields(data)})
    loaded.keep_data(recipe.data, sealed)
    (record, _), notes = run(recipe=recipe, variants=[{}], fresh=True)
    assert record.finished
    assert record.test_accuracy is record.test_images is None
    assert "test" not in notes
    with pytest.raises(WasRead):
        run(recipe=recipe, test=True)


def test_the_deployable_is_scored_on_the_test_split(run, tiny_recipe):
    data = load_data(tiny_recipe().data)
    records, _ = run(test=True, variants=[{"int8": {"images": 32}}])
    for record in records:
        assert record.test_images == len(data.test) != record.validation_images == 60
        right = record.test_accuracy * record.test_images / 100
        assert right == pytest.approx(round(right)), "a share of the test images"
    # The validation images, turned round: the same share of them is right.
    recipe, back = tiny_recipe(), data.validation
    back = dataclasses.replace(back, pixels=back.pixels.flip(0), labels=back.labels.flip(0))
    loaded.keep_data(recipe.data, dataclasses.replace(data, test=back))
    (same,), notes = run(test=True)
    assert (same.test_accuracy, same.test_images, notes) == (records[0].accuracy, 60, ["test"])


def test_a_score_on_the_test_split_is_kept_by_its_images(run, tiny_recipe):
    (first,), _ = run(test=True)
    (again,), notes = run(test=True)
    assert (again.test_accuracy, notes) == (first.test_accuracy, [])
    recipe = tiny_recipe()
    data = load_data(recipe.data)
    fewer = dataclasses.replace(data.test, pixels=data.test.pixels[:50], labels=data.test.labels[:50])
    loaded.keep_data(recipe.data, dataclasses.replace(data, test=fewer))
    (other,), notes = run(test=True)
    assert (other.test_images, notes) == (50, ["test"])


def test_the_process_with_the_test_images_ends_with_the_trial(run, monkeypatch):
    made = []

    class Watched(trials.Runner):
        def __init__(self, pixels):
            super().__init__(pixels)
            made.append(self)

    monkeypatch.setattr(trials, "Runner", Watched)
    monkeypatch.setattr(trials, "_runners", {})
    run(test=True)
    assert len(made) == 2
    assert [each._process is None for each in made].count(True) == 1


def test_a_fresh_latency_is_the_trial_s_own_and_survives_a_crash(run):
    plain = run(number=1)[0][0]
    assert run(number=2)[0][0].latency_ms == plain.latency_ms
    (first,), notes = run(number=2, fresh=True)
    assert notes == ["time"], "nothing but the latency is run again"
    assert (first.accuracy, first.train_seconds) == (plain.accuracy, plain.train_seconds)
    assert first.latency_ms != plain.latency_ms
    (again,), notes = run(number=2, fresh=True)
    assert (again.latency_ms, again.latency_p95_ms, notes) == (first.latency_ms, first.latency_p95_ms, [])
    (other,), notes = run(number=3, fresh=True)
    assert notes == ["time"]
    assert len({each.latency_ms for each in (plain, first, other)}) == 3
    assert run(number=3, seed=1, fresh=True)[1].count("time") == 1
    assert run(number=9)[0][0].latency_ms == plain.latency_ms, "what is shared is as it was"
