"""Rungs: a look at a training changes no bit of it, and one that is stopped leaves a record and no net."""

import pytest
import torch

from tricksearch.contract import discover
from tricksearch.records.constraints import Bound
from tricksearch.trial.cache import Cache
from tricksearch.trial.data import load_data
from tricksearch.trial.job import Job
from tricksearch.trial.run import run_trial
from tricksearch.trial.rungs import Rungs, Stopped

# A net that draws, and weights that draw, keep a copy, hold the workbench, and spoil what they are given at the end.
HEAVY = """
def model(self, net, bench):
    net.pool = torch.nn.Sequential(net.pool, torch.nn.Dropout(0.5))
    return net
def weights(self, weights, bench):
    return Average(bench)
# behind the class
class Average:
    def __init__(self, bench):
        self.bench, self.mean, self.updates = bench, None, 0
    def update(self, net):
        self.updates += 1
        now = {name: value.detach().clone() for name, value in net.state_dict().items()}
        self.mean = now if self.mean is None else {
            name: torch.lerp(self.mean[name], value, 0.5) if value.is_floating_point() else value
            for name, value in now.items()
        }
    def final(self, net):
        torch.rand(3)
        SEEN.append((self.updates, id(self.bench), net.training))
        net.load_state_dict(self.mean)
        self.mean = None
        return net
"""
THREES = """
def weights(self, weights, bench):
    return Threes()
# behind the class
class Threes:
    def update(self, net):
        pass
    def final(self, net):
        class Net(torch.nn.Module):
            def forward(self, images):
                return torch.eye(10)[torch.full((len(images),), 3)]
        return Net()
"""
STUBBORN = """
def weights(self, weights, bench):
    return Stubborn()
# behind the class
class Stubborn:
    def __deepcopy__(self, memo):
        raise TypeError("cannot be copied")
    def update(self, net):
        pass
    def final(self, net):
        return net
"""


def looked_at(bench, epochs, tell=None):
    told = []
    rungs = Rungs(frozenset(epochs), tell or (lambda epoch, accuracy: told.append((epoch, accuracy))))
    net = bench.train(bench.build_net(), rungs)
    return {name: value.clone() for name, value in net.state_dict().items()}, told


@pytest.mark.parametrize(
    ("tricks_on", "train"), [({}, {}), ({}, {"precision": "bf16"}), ({"heavy": {}}, {}), ({"stubborn": {}}, {})]
)
def test_a_look_changes_no_bit_of_the_training(make_bench, trained, same, tiny_recipe, tricks, seen, tricks_on, train):
    folder = str(tricks(heavy=HEAVY, stubborn=STUBBORN))
    recipe = tiny_recipe(plugins=[folder], tricks=tricks_on, train={"epochs": 4, "augment": "flip_crop", **train})
    registry = discover([folder])
    without = trained(recipe, registry=registry)
    bench = make_bench(recipe, registry=registry)
    weights, told = looked_at(bench, (1, 3))
    assert same(without, weights)
    assert [epoch for epoch, _ in told] == [1, 3]
    assert all(0 <= accuracy <= 100 for _, accuracy in told)
    assert bench.looked_seconds > 0
    if "heavy" in tricks_on:
        # After two epochs of two steps each; the workbench itself is not copied.
        assert [updates for updates, _, _ in seen(registry, "heavy")] == [8, 2, 6, 8]
        assert {id(bench)} == {where for _, where, _ in seen(registry, "heavy")[1:]}


def test_the_accuracy_is_that_of_the_final_weights_over_all_validation_images(make_bench, tiny_recipe, tricks):
    folder = str(tricks(threes=THREES))
    recipe = tiny_recipe(plugins=[folder], tricks={"threes": {}}, train={"epochs": 2})
    _, told = looked_at(make_bench(recipe), (1,))
    labels = load_data(recipe.data).validation.labels
    assert len(labels) == 60
    assert told == [(1, pytest.approx(100 * (labels == 3).float().mean().item()))]


def test_a_net_that_gives_no_number_is_right_about_nothing(make_bench, tiny_recipe, tricks):
    nans = THREES.replace("[torch.full((len(images),), 3)]", "[torch.full((len(images),), 3)] * float('nan')")
    folder = str(tricks(nans=nans))
    recipe = tiny_recipe(plugins=[folder], tricks={"nans": {}}, train={"epochs": 2})
    assert looked_at(make_bench(recipe), (1,))[1] == [(1, 0.0)]


@pytest.fixture
def climb(scratch, tmp_path, tiny_recipe, numbered_timings):
    """Run a trial with rungs; `stop` is the epoch at which it is stopped. Returns its records and what was told."""

    def run(stop=None, rungs=(1, 2), cache="cache", variants=(), bounds=(), **keys):
        told = []

        def report(progress):
            told.append(progress)
            if progress.epoch == stop:
                raise Stopped("others are ahead")

        recipe = tiny_recipe(**{"train": {"epochs": 4}} | keys)
        others = [recipe.model_copy(update={"tricks": tricks}) for tricks in variants]
        job = Job.of(recipe, cache=tmp_path / cache, variants=others, bounds=bounds, rungs=list(rungs), trial=7)
        return run_trial(job, report=report, reraise=(AssertionError,)), told

    return run


def test_a_stopped_trial_is_a_record_with_its_cost_and_leaves_no_net(climb, tmp_path):
    (record,), told = climb(stop=2, variants=[{"int8": {}}])  # which shares the training, and is not begun
    assert [each.epoch for each in told] == [1, 2]
    assert (record.trial, record.status, record.reason) == (7, "stopped", "others are ahead")
    assert (record.accuracy, record.latency_ms, record.params) == (None, None, None)
    assert 0 < record.train_seconds < record.spent_seconds + 1e-3 < record.wall_seconds + 1e-3
    assert told[0].record.train_seconds < record.train_seconds
    assert not [each for each in Cache(tmp_path / "cache").usage() if each.stage in ("train", "compress", "deploy")]
    # What had been foreseen of it is what is then measured of the same recipe, trained to its end.
    (finished,), again = climb()
    assert finished.finished
    assert [(each.epoch, each.measures) for each in again] == [(each.epoch, each.measures) for each in told]
    assert {"accuracy", "latency_ms", "params"} <= told[0].measures.keys()
    assert all(told[0].measures[name] == getattr(finished, name) for name in ("latency_ms", "params", "macs"))
    assert climb()[1] == []  # the net is known: it comes to no rung


def test_a_training_that_comes_to_its_end_is_the_same_net_under_the_same_key(climb, tmp_path, same):
    (with_rungs,), _ = climb(cache="with")
    (without,), told = climb(cache="without", rungs=())
    assert told == []
    nets = []
    for name in ("with", "without"):
        (entry,) = [each for each in Cache(tmp_path / name).usage() if each.stage == "train"]
        file = Cache(tmp_path / name).get("train", entry.key).file("weights.pt")
        nets.append((entry.key, torch.load(file, weights_only=True)))
    assert nets[0][0] == nets[1][0]
    assert same(nets[0][1], nets[1][1])
    assert (with_rungs.accuracy, with_rungs.f1) == (without.accuracy, without.f1)
    assert with_rungs.spent_seconds > with_rungs.train_seconds  # the looks are spent, and are no part of the training
    assert without.spent_seconds == pytest.approx(without.train_seconds, abs=1e-3)


def test_only_the_trials_own_training_is_told(climb, tricks):
    tuned = """
    def compress(self, net, bench):
        return bench.fine_tune(net, 3, 0.1)
    def loss(self, loss, bench):
        bench.teacher("", 1.0)
        return loss
    def foreseeable(self):
        return False
    """
    folder = str(tricks(tuned=tuned))
    (record,), told = climb(plugins=[folder], tricks={"tuned": {}})
    assert record.finished
    assert [each.epoch for each in told] == [1, 2]
    assert told[0].measures.keys() == {"accuracy"}  # nothing is foreseen of its graph
    assert told[0].record.spent_seconds > told[0].record.train_seconds


def test_a_variant_that_trains_in_place_of_a_rejected_trial_is_not_told_as_the_trial(climb, tricks):
    bloated = """
    def compress(self, net, bench):
        net.bloat = torch.nn.Parameter(torch.zeros(100_000))
        return net
    """
    folder = str(tricks(bloated=bloated))
    bound = Bound("params", True, 50_000.0, "params <= 50000")
    records, told = climb(plugins=[folder], tricks={"bloated": {}}, variants=[{}], bounds=[bound])
    assert [record.status for record in records] == ["rejected", "finished"]
    assert told == []


def test_progress_crosses_as_json(climb):
    _, told = climb(stop=1)
    assert type(told[0]).from_json(told[0].to_json()) == told[0]
