"""What a training was seen to do: told truly, without changing it, and not lost in the cache."""

import math

import pytest
import torch

from tricksearch.contract import discover, hooks
from tricksearch.trial.job import Job
from tricksearch.trial.run import run_trial
from tricksearch.verdicts.confounders import FACETS, confounders

TRICKS = discover()
WIDE = {"net": {"widths": [16, 32]}}


@pytest.fixture
def seen(make_bench):
    """What the watch tells of the training of a recipe."""

    def run(recipe, **options):
        bench = make_bench(recipe, **options)
        bench.train(bench.build_net())
        return bench.watch.seen()

    return run


@pytest.fixture
def seen_with(seen, tiny_recipe, tricks):
    """Likewise, with one trick of the test's own."""

    def run(body, **keys):
        folder = str(tricks(own=body))
        return seen(tiny_recipe(plugins=[folder], tricks={"own": {}}, **keys), registry=discover([folder]))

    return run


class Blind:
    """Sees nothing."""

    def __init__(self, *args):
        pass

    def augmentation(self, thing):
        return thing

    whole = loss = augmentation

    def step(self, *args):
        pass

    def seen(self):
        return {}


def test_the_watch_changes_no_bit_of_a_training(trained, tiny_recipe, same, monkeypatch):
    on = {"mixup": {}, "label_smoothing": {}, "distillation": {}, "focal": {}, "onecycle": {}, "bn_sparsity": {}}
    recipe = tiny_recipe(train={"epochs": 3, "augment": "flip_crop"}, tricks=on)
    watched = trained(recipe)
    after = torch.rand(1)
    monkeypatch.setattr("tricksearch.trial.training.workbench.Watch", Blind)
    assert same(watched, trained(recipe))
    assert torch.equal(after, torch.rand(1)), "the global stream is where it would be"


def test_a_plain_training(seen, tiny_recipe):
    recipe = tiny_recipe(
        train={"epochs": 4, "lr": 0.2, "momentum": 0.8, "weight_decay": 0.01, "precision": "fp32", "device": "cpu"}
    )
    assert seen(recipe) == {
        "images": 40,
        "batch_size": 16,
        "image_pixels": 64,
        "steps": 8,
        "optimizer": "SGD",
        "momentum": 0.8,
        "weight_decay": 0.01,
        "lr_max": 0.2,
        "lr_mean": pytest.approx((0.2 * 4 + 0.02 * 2 + 0.002 * 2) / 8),
        "params": 1362,
        "target_top": 1,
        "target_max": 1,
        "target_entropy": 0,
        "pixel_change": 0,
        "precision": "float32",
        "device": "cpu",
    }


@pytest.mark.parametrize(
    ("body", "change"),
    [
        ("return lambda batch: transform(Batch(batch.images / 2, batch.targets))", "before"),
        ("return lambda batch: Batch(transform(batch).images.div_(2), batch.targets)", "behind, in place"),
        ("return lambda batch: Batch(batch.images / 2, batch.targets)", "instead of the augmentation"),
    ],
)
def test_the_pixels_that_a_batch_hook_changed(seen_with, make_bench, tiny_recipe, body, change):
    pixels = make_bench().train_images().pixels / 255
    found = seen_with(f"def batch(self, transform, bench):\n    {body}", train={"batch_size": 40, "augment": "none"})
    assert found["pixel_change"] == pytest.approx(float(pixels.mean() / 2), rel=1e-4), change


def test_the_augmentation_of_the_study_is_no_change_of_a_hook(seen, tiny_recipe):
    assert seen(tiny_recipe(train={"augment": "flip_crop"}))["pixel_change"] == 0


def test_batches_as_they_reach_the_net(seen_with):
    found = seen_with(
        """
        def batch(self, transform, bench):
            def half(batch):
                batch = transform(batch)
                return Batch(torch.cat([batch.images[:12]] * 2, dim=2), batch.targets[:12])
            return half
        def data(self, images, bench):
            return Images(images.pixels[:32], images.labels[:32], images.num_classes)
        """
    )
    assert (found["batch_size"], found["image_pixels"], found["images"], found["steps"]) == (12, 128, 32, 2)


def test_another_optimizer(seen_with):
    found = seen_with(
        """
        def optimizer(self, build, bench):
            def adam(net):
                groups = [{"params": [each], "lr": 0.01, "weight_decay": 0.3} for each in net.parameters()]
                groups[0] |= {"lr": 0.03, "weight_decay": 0.0}
                return torch.optim.AdamW(groups, betas=(0.7, 0.9))
            return adam
        """
    )
    assert [found[name] for name in ("optimizer", "lr_max", "weight_decay", "momentum")] == ["AdamW", 0.03, 0.3, 0.7]


@pytest.mark.parametrize(
    "tricks",
    [
        {"label_smoothing": {"epsilon": 0.2}},
        {"label_smoothing": {"epsilon": 0.2}, "focal": {}},
        {"label_smoothing": {"epsilon": 0.2}, "focal": {}, "distillation": {}},
    ],
)
def test_targets_are_those_of_the_innermost_loss(seen, tiny_recipe, tricks):
    found = seen(tiny_recipe(tricks=tricks))
    top, rest = 0.8 + 0.02, 0.02
    assert found["target_top"] == pytest.approx(top, abs=1e-5) == found["target_max"]
    assert found["target_entropy"] == pytest.approx(-top * math.log(top) - 9 * rest * math.log(rest), abs=1e-4)


def test_it_survives_the_cache_and_counts_what_follows_the_training(tiny_recipe, scratch, tmp_path):
    on = {"distillation": {"teacher_epochs": 0.5}}
    plain = tiny_recipe(**WIDE, train={"epochs": 4}, tricks=on)
    tuned = plain.model_copy(update={"tricks": on | {"low_rank": {"epochs": 0.5}}})
    first = [record.effective for record in run_trial(Job.of(plain, 0, cache=tmp_path, variants=[tuned]))]
    assert set(first[0]) == set(FACETS)
    assert (first[0]["epochs"], first[0]["teacher_epochs"], first[0]["steps"]) == (4, 2, 8)
    assert first[1] == first[0] | {"epochs": 6}, "the teacher is asked for again by the fine-tuning, and counts once"
    (again,) = run_trial(Job.of(tuned, 0, cache=tmp_path))
    assert "train" in again.reused
    assert again.effective == first[1]
    qat = plain.model_copy(update={"tricks": on | {"qat": {"epochs": 0.25, "images": 32}}})
    (other,) = run_trial(Job.of(qat, 0, cache=tmp_path))
    assert "train" in other.reused
    assert other.effective == first[0] | {"epochs": 5}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bn_sparsity", []),
        ("cosine", []),
        ("cutmix", ["the entropy of the targets"]),
        ("distillation", ["the epochs that a teacher is trained for"]),
        ("focal", []),
        ("label_smoothing", []),
        ("mixup", ["the entropy of the targets"]),
        ("onecycle", []),
        ("se", []),
    ],
)
def test_what_a_trick_does_beyond_its_hooks(name, said, tiny_recipe, make_bench):
    found = []
    for tricks in ({}, {name: {}}):
        bench = make_bench(tiny_recipe(**WIDE, train={"epochs": 6}, tricks=tricks))
        bench.train(bench.build_net())
        found.append(bench.watch.seen() | {"teacher_epochs": sum(bench.teachers.values())})
    sentences = confounders(found[1], found[0], hooks(TRICKS[name]), name)
    assert len(sentences) == len(said)
    for sentence, words in zip(sentences, said, strict=True):
        assert sentence.startswith(f"{name} also changes {words}: ")
