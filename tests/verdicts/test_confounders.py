"""Confounders: said where no hook accounts for a difference, silent where one does or where there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tricksearch.verdicts.confounders import FACETS, confounders, effective_of_arm

PLAIN = {
    "images": 1000,
    "batch_size": 100.0,
    "image_pixels": 64.0,
    "epochs": 20.0,
    "teacher_epochs": 0.0,
    "steps": 200,
    "optimizer": "SGD",
    "lr_max": 0.1,
    "lr_mean": 0.05,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "target_entropy": 0.0,
    "target_top": 1.0,
    "target_max": 1.0,
    "pixel_change": 0.0,
    "params": 19706,
    "precision": "float32",
    "device": "cpu",
}
MIXED = {"target_entropy": 0.312, "target_top": 0.85, "pixel_change": 0.088}
TEXTS = {"optimizer", "precision", "device"}


@pytest.mark.parametrize(
    ("change", "hooks", "said"),
    [
        ({}, ["loss"], []),
        (MIXED, ["batch"], ["the entropy of the targets: 0.312 nats instead of 0; its hook (batch) does not"]),
        (MIXED, ["batch", "loss"], []),
        (MIXED, ["loss"], ["the pixels of the training batches: 0.088 of [0, 1] instead of 0; its hook (loss) does"]),
        ({"batch_size": 50.0, "steps": 400}, ["batch"], ["the batch size: 50 images instead of 100;"]),
        ({"epochs": 25.0}, ["compress"], ["the epochs that are trained, fine-tuning included: 25 epochs instead of"]),
        ({"epochs": 25.0, "steps": 250}, ["schedule"], ["the epochs that are trained"]),
        ({"steps": 190}, ["batch"], ["the number of optimizer steps: 190 instead of 200"]),
        ({"images": 2000, "steps": 400}, ["data"], []),
        ({"images": 2000, "steps": 400}, [], ["the number of training images: 2,000 instead of 1,000; no hook of it"]),
        ({"optimizer": "AdamW", "lr_max": 1e-3, "lr_mean": 5e-4, "weight_decay": 0.01}, ["optimizer"], []),
        (
            {"optimizer": "AdamW", "lr_max": 1e-3, "lr_mean": 5e-4},
            ["schedule", "loss"],
            ["the optimizer: AdamW instead of SGD; its hooks (schedule, loss) do not account"],
        ),
        ({"lr_mean": 0.06, "momentum": 0.95}, ["schedule"], []),
        ({"lr_mean": 0.06}, ["loss"], ["the mean learning rate: 0.06 instead of 0.05"]),
        ({"params": 20146}, ["model"], []),
        ({"params": 20146}, ["weights"], ["the number of trained parameters: 20,146 instead of 19,706"]),
        ({"precision": "bfloat16"}, ["model"], ["the number format of the training: bfloat16 instead of float32"]),
        ({"image_pixels": 32.0}, ["batch"], ["the size of the training images: 32 pixels instead of 64"]),
        ({"teacher_epochs": 2.0}, ["loss"], ["the epochs that a teacher is trained for: 2 epochs instead of 0"]),
        ({"target_max": 0.9}, ["batch"], ["the largest probability of a target: 0.9 instead of 1"]),
    ],
)
def test_what_is_said(change, hooks, said):
    found = confounders(PLAIN | change, PLAIN, hooks, "mine")
    assert len(found) == len(said)
    for sentence, words in zip(found, said, strict=True):
        assert sentence.startswith(f"mine also changes {words}")
        assert sentence.endswith(" account for that.")


def test_the_noise_of_drawn_mixes_is_no_difference():
    drawn = PLAIN | MIXED
    again = drawn | {"target_entropy": 0.34, "target_top": 0.84, "pixel_change": 0.1}
    assert confounders(again, drawn, [], "mine") == []


def test_what_only_one_of_them_knows_is_not_compared():
    assert confounders(PLAIN, {}, [], "mine") == confounders({}, PLAIN, [], "mine") == []
    assert confounders({"images": 10}, {"steps": 3}, [], "mine") == []


def test_a_facet_of_a_later_version_is_compared_as_it_stands():
    (said,) = confounders({"grad_norm": 2.0}, {"grad_norm": 1.0}, ["loss"], "mine")
    assert said.startswith("mine also changes grad norm: 2 instead of 1;")


@given(
    st.fixed_dictionaries(
        {
            name: st.sampled_from(["one", "two"]) if name in TEXTS else st.floats(0, 1e9) | st.integers(0, 10**9)
            for name in FACETS
        }
    )
)
def test_a_recipe_does_not_differ_from_itself_and_each_difference_is_said_once(recipe):
    assert confounders(recipe, recipe, [], "mine") == []
    assert confounders(recipe, effective_of_arm([recipe, recipe, {}]), [], "mine") == []
    other = {name: f"{value} too" if name in TEXTS else value * 2 + 1 for name, value in recipe.items()}
    found = confounders(other, recipe, [], "mine")
    assert len(found) == sum(not facet.follows for facet in FACETS.values())
    every = [hook for facet in FACETS.values() for hook in facet.hooks]
    said = confounders(other, recipe, every, "mine")
    assert len(said) == sum(not facet.hooks and not facet.follows for facet in FACETS.values())


def test_an_arm_is_told_by_the_mean_of_its_runs():
    runs = [
        PLAIN | {"target_entropy": value, "precision": text} for value, text in [(0.2, "a"), (0.4, "b"), (0.3, "a")]
    ]
    found = effective_of_arm(runs)
    assert found["target_entropy"] == pytest.approx(0.3)
    assert found["precision"] == "a"
    assert effective_of_arm([{"a": 1, "b": 2}, {}, {"a": 3}]) == {"a": 2}
    assert effective_of_arm([{}]) == effective_of_arm([]) == {}
