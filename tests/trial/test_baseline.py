"""The plain net's file: made once, of the shape alone, and the moment that milliseconds refer to."""

import numpy as np
import pytest

from tricksearch.contract import TrialError, discover
from tricksearch.trial import baseline as module
from tricksearch.trial.baseline import baseline_of, known_yardstick_ms, yardstick_ms
from tricksearch.trial.cache import Cache
from tricksearch.trial.context import JobContext
from tricksearch.trial.data import load_data
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME, load


@pytest.fixture
def context(tmp_path):
    """What a job of a recipe has, with one cache for all of them; `notes` is what was told."""
    machine, runner, notes = Machine(tmp_path), Runner(np.zeros((1, 1, 8, 8), np.uint8)), []

    def of(recipe):
        data, cache = load_data(recipe.data), Cache(tmp_path / "cache")
        return JobContext(discover(recipe.plugins), data, cache, machine, runner, notes.append)

    of.notes = notes
    yield of
    runner.close()
    machine.close()


def test_the_file_is_made_once_and_is_the_plain_net(context, tiny_recipe):
    recipe = tiny_recipe()
    first = baseline_of(recipe, context(recipe))
    again = baseline_of(tiny_recipe(tricks={"int8": {"images": 32}}, train={"epochs": 7}), context(recipe))
    assert again == first
    assert context.notes == ["export"]
    logits = load(ONNX_RUNTIME, first.deployable, 1)(np.zeros((3, 1, 8, 8), np.float32))
    assert logits.shape == (3, 10)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"data": {"split_seed": 3}}, True),
        ({"data": {"train_images": 50}}, True),
        ({"train": {"lr": 0.5}}, True),
        ({"latency": {"batch": 2}}, True),
        ({"net": {"widths": [16]}}, False),
        ({"net": {"blocks": 2}}, False),
        ({"data": {"size": 16}}, False),
    ],
)
def test_another_net_or_input_has_another_file_and_other_images_have_not(context, tiny_recipe, change, same):
    key = baseline_of(tiny_recipe(), context(tiny_recipe())).key
    other = tiny_recipe(**change)
    assert (baseline_of(other, context(other)).key == key) == same


@pytest.mark.parametrize(
    ("path", "old", "new", "same"),
    [
        ("trial/training/resnet.py", "from __future__ import annotations", "X = 1", False),
        ("trial/measuring/export.py", "opset_version=17", "opset_version=18", False),
        ("trial/baseline.py", "0.01 * torch.rand", "0.02 * torch.rand", False),
        ("trial/training/train.py", "0.1 ** sum", "0.2 ** sum", True),
        ("trial/measuring/stopwatch.py", "MIN_BATCHES = 3", "MIN_BATCHES = 4", True),
    ],
)
def test_the_code_that_makes_it_stands_in_its_key(context, tiny_recipe, edit, path, old, new, same):
    recipe = tiny_recipe()
    key = baseline_of(recipe, context(recipe)).key
    edit(lambda name, text: text.replace(old, new, 1) if name == path else text)
    assert (baseline_of(recipe, context(recipe)).key == key) == same


def test_the_global_random_state_is_left_alone(context, tiny_recipe):
    import torch

    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    baseline_of(tiny_recipe(), context(tiny_recipe()))
    assert torch.equal(torch.rand(2), expected)


def test_no_two_tensors_of_it_are_alike(context, tiny_recipe):
    """The exporter stores equal ones once, and the file of a trained net would be another."""
    import onnx
    from onnx import numpy_helper

    recipe = tiny_recipe(net={"widths": [8, 8], "blocks": 2})
    model = onnx.load(str(baseline_of(recipe, context(recipe)).deployable.path))
    contents = [numpy_helper.to_array(tensor).tobytes() for tensor in model.graph.initializer]
    large = [content for content in contents if len(content) >= 32]
    assert len(large) > 4
    assert len(set(large)) == len(large)


def test_a_plain_net_that_cannot_be_exported_is_a_reason(context, tiny_recipe, monkeypatch):
    def refuse(*_):
        raise TrialError("an operator is not known")

    monkeypatch.setattr(module, "export", refuse)
    with pytest.raises(TrialError, match="the plain net, which latencies are compared with: an operator is not known"):
        baseline_of(tiny_recipe(), context(tiny_recipe()))


def test_the_first_time_of_the_yardstick_is_what_milliseconds_refer_to(context, tiny_recipe, steady_timing):
    recipe = tiny_recipe()
    known, plain = context(recipe), baseline_of(recipe, context(recipe))

    def taking(milliseconds, **others):
        return steady_timing(1.0, recipe.latency, yardstick_ms=milliseconds, **others)

    assert known_yardstick_ms(recipe, plain.key, "cpu", known) is None
    assert yardstick_ms(recipe, plain.key, "cpu", taking(2.0, disturbed=0.7), known) == 2.0
    assert known_yardstick_ms(recipe, plain.key, "cpu", known) is None, "a disturbed moment is nothing to refer to"
    assert yardstick_ms(recipe, plain.key, "cpu", taking(5.0, disturbed=0.7), known) == 2.0, "nor one for each record"
    assert yardstick_ms(recipe, plain.key, "cpu", taking(0.5), known) == 0.5
    assert yardstick_ms(recipe, plain.key, "cpu", taking(5.0, disturbed=0.7), known) == 0.5
    assert yardstick_ms(recipe, plain.key, "cpu", taking(0.9), known) == 0.5
    assert known_yardstick_ms(recipe, plain.key, "cpu", known) == 0.5
    assert yardstick_ms(tiny_recipe(train={"epochs": 3}), plain.key, "cpu", taking(0.9), known) == 0.5
    assert yardstick_ms(recipe, plain.key, "cuda", taking(0.9), known) == 0.9, "another device has another yardstick"
    assert yardstick_ms(tiny_recipe(latency={"batch": 2}), plain.key, "cpu", taking(1.5), known) == 1.5
    assert yardstick_ms(tiny_recipe(latency={"threads": 2}), plain.key, "cpu", taking(0.4), known) == 0.4
