"""Recipes: their key, their YAML, their tricks."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.trial.conftest import tiny_recipe
from tricksearch.contract import InputError, discover, trick_name
from tricksearch.records.recipe import Recipe


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9))))
def test_the_key_is_the_recipe_s_and_not_its_order_s(tricks):
    recipe = Recipe(tricks=tricks)
    turned = Recipe(tricks={name: dict(reversed(values.items())) for name, values in reversed(tricks.items())})
    assert recipe.key == turned.key
    assert Recipe.model_validate(yaml.safe_load(recipe.to_yaml("a heading\nof two lines"))) == recipe
    assert Recipe.model_validate_json(recipe.model_dump_json()).key == recipe.key


def test_another_recipe_has_another_key():
    recipes = [
        tiny_recipe(),
        tiny_recipe(train={"lr": 0.2}),
        tiny_recipe(data={"split_seed": 1}),
        tiny_recipe(net={"blocks": 2}),
        tiny_recipe(latency={"batch": 2}),
        tiny_recipe(tricks={"mixup": {}}),
        tiny_recipe(tricks={"mixup": {"alpha": 0.3}}),
    ]
    assert len({recipe.key for recipe in recipes}) == len(recipes)


def test_tricks_are_built_in_their_order():
    registry = discover()
    built = tiny_recipe(tricks={"mixup": {"alpha": 0.3}, "cosine": {}}).build_tricks(registry)
    assert [trick_name(type(each)) for each in built] == ["cosine", "mixup"]
    assert built[1].alpha == 0.3


@pytest.mark.parametrize(
    ("tricks", "message"),
    [
        ({"mixpu": {}}, "tricks: there is no trick 'mixpu'. Did you mean 'mixup'?"),
        ({"mixup": {"alpha": 7}}, "tricks.mixup.alpha: must be 0.1 to 1, got 7."),
        ({"mixup": {"alfa": 0.2}}, "tricks.mixup.alfa: 'alfa' is not a hyperparameter of this trick. Did you mean"),
        ({"mixup": {}, "cutmix": {}}, "'cutmix' and 'mixup' both claim 'batch.mix'"),
    ],
)
def test_tricks_that_cannot_be(tricks, message):
    with pytest.raises(InputError) as caught:
        tiny_recipe(tricks=tricks).build_tricks(discover())
    assert message in str(caught.value)
