"""One copy of the data set on a device, whoever works on it, and nothing of a variant is held beyond its end."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tricksearch.contract import TrialError, discover
from tricksearch.trial.cache import Cache
from tricksearch.trial.context import JobContext
from tricksearch.trial.data import load_data
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.stages import Stages
from tricksearch.trial.training import workbench
from tricksearch.trial.training.precision import choose_precision

WRITES = '''"""Writes.

Paper: none.
Use when: never.
Avoid when: always.
Cost: none.
"""

from dataclasses import dataclass

from tricksearch import Trick


@dataclass(frozen=True)
class Writes(Trick):
    """Writes into the images."""

    def data(self, images, bench):
        images.pixels[0] += 1
        return images
'''
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


def test_a_trick_that_writes_into_the_shared_images_is_told(context, tiny_recipe, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "writes.py").write_text(WRITES)
    recipe = tiny_recipe(tricks={"writes": {}}, plugins=(str(tmp_path / "own"),))
    before = context.data.digest("train")
    own = replace(context, registry=discover(recipe.plugins))
    with pytest.raises(TrialError, match="'writes' wrote into the images that all trials share"):
        Stages(recipe, 0, own, tmp_path)
    assert context.data.digest("train") != before, "no later trial takes these for what they were"
