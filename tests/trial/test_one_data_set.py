"""One copy of the data set on a device, whoever works on it, and nothing of a variant is held beyond its end."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tricksearch.contract import discover
from tricksearch.trial.cache import Cache
from tricksearch.trial.context import JobContext
from tricksearch.trial.data import load_data
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.stages import Stages
from tricksearch.trial.training import workbench
from tricksearch.trial.training.precision import choose_precision

DEVICE = torch.device("meta")  # no memory of the host's, as a GPU has none of it


@pytest.fixture
def context(tmp_path, tiny_recipe, runner):
    machine = Machine(tmp_path)
    yield JobContext(discover(), load_data(tiny_recipe().data), Cache(tmp_path / "cache"), machine, runner)
    machine.close()


@pytest.fixture
def on_device(monkeypatch):
    def elsewhere(settings):
        return replace(choose_precision(settings), device=DEVICE)

    monkeypatch.setattr(workbench, "choose_precision", elsewhere)


def test_every_workbench_of_a_process_shares_one_copy_of_the_data_set(context, on_device, tiny_recipe, tmp_path):
    plain = Stages(tiny_recipe(), 0, context, tmp_path).bench.train_images()
    variant = Stages(tiny_recipe(tricks={"int8": {}}), 1, context, tmp_path).bench.train_images()
    assert plain.pixels.device == plain.labels.device == DEVICE
    assert variant.pixels is plain.pixels
    assert variant.labels is plain.labels
    assert context.data.train_on(torch.device("cpu")).pixels is context.data.train.pixels


def test_a_data_set_is_on_one_device_at_a_time(context):
    first = weakref.ref(context.data.train_on(DEVICE).pixels)
    context.data.train_on(torch.device("meta", 1))
    assert first() is None


def test_what_a_variant_holds_goes_with_its_last_use(context, tiny_recipe, tmp_path):
    gc.collect()
    gc.disable()
    try:
        stages = Stages(tiny_recipe(), 0, context, Path(tmp_path))
        bench = weakref.ref(stages.bench)
        del stages
        assert bench() is None, "a circle holds it until the collector happens to run"
    finally:
        gc.enable()
