"""A trick's hooks and stages, derived; the order of a recipe's tricks; building one from a recipe's values."""

import itertools
from dataclasses import dataclass
from typing import Annotated

import pytest

from tricksearch import Float, Int, Trick
from tricksearch.contract import (
    STAGE_OF_HOOK,
    InputError,
    build,
    defaults,
    domains,
    hooks,
    in_order,
    stages,
    trick_name,
)


def overriding(*names: str) -> type[Trick]:
    """A trick that overrides these hooks."""
    body = {name: (lambda self, thing, bench: thing) for name in names}
    return dataclass(frozen=True)(type("Made", (Trick,), body))


def tagged(name: str, claims: str = "", after: tuple[str, ...] = ()) -> Trick:
    """A trick of this name with these tags."""
    made = type("Made", (Trick,), {"claims": claims, "after": after, "__module__": f"anywhere.{name}"})
    return dataclass(frozen=True)(made)()


def order_of(*tricks: Trick) -> list[str]:
    return [trick_name(type(trick)) for trick in in_order(tricks)]


@pytest.mark.parametrize("hook", STAGE_OF_HOOK)
def test_a_hook_belongs_to_one_stage(hook):
    trick = overriding(hook)
    assert hooks(trick) == (hook,)
    assert stages(trick) == (STAGE_OF_HOOK[hook],)


def test_hooks_and_stages_come_in_the_order_of_a_trial():
    trick = overriding("runtime", "deploy", "compress", "loss", "model")
    assert hooks(trick) == ("model", "loss", "compress", "deploy", "runtime")
    assert stages(trick) == ("train", "compress", "deploy", "measure")
    assert stages(overriding()) == ()


def test_a_hook_that_was_inherited_counts():
    @dataclass(frozen=True)
    class Child(overriding("batch")):
        pass

    assert hooks(Child) == ("batch",)


def test_tags_order_the_tricks_however_they_are_given():
    tricks = [
        tagged("a", claims="last", after=("middle",)),
        tagged("b", claims="middle", after=("first", "nobody holds it")),
        tagged("c", claims="first"),
        tagged("d"),
    ]
    for given in itertools.permutations(tricks):
        order = order_of(*given)
        assert order == ["c", "b", "a", "d"]


def test_without_tags_the_name_orders():
    assert order_of(tagged("z"), tagged("m"), tagged("a")) == ["a", "m", "z"]


def test_a_trick_may_follow_its_own_tag():
    assert order_of(tagged("b", claims="mix", after=("mix",)), tagged("a")) == ["a", "b"]


def test_two_tricks_with_one_claim_cannot_be_together():
    with pytest.raises(InputError, match=r"'a' and 'b' both claim 'mix', and only one of a recipe may\. Keep one"):
        in_order([tagged("b", claims="mix"), tagged("a", claims="mix")])


def test_tags_that_wait_for_each_other_are_refused():
    circle = [tagged("a", claims="x", after=("y",)), tagged("b", claims="y", after=("x",)), tagged("c")]
    with pytest.raises(InputError, match="the tags of a, b order them in a circle"):
        in_order(circle)


@dataclass(frozen=True)
class Example(Trick):
    share: Annotated[float, Float(0.0, 0.5)] = 0.1
    count: Annotated[int, Int(1, 8), "a note that is no domain"] = 4

    def loss(self, loss, bench):
        return loss


def test_build_keeps_defaults_and_converts_types():
    built = build(Example, {"share": 0})
    assert (built.share, built.count) == (0.0, 4)
    assert type(built.share) is float
    assert defaults(Example) == {"share": 0.1, "count": 4}
    assert domains(Example) == {"share": Float(0.0, 0.5), "count": Int(1, 8)}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": 0.7}, "tricks.example.share: must be 0 to 0.5, got 0.7."),
        ({"count": 1.5}, "tricks.example.count: a whole number is needed, got 1.5."),
        ({"count": "many"}, "tricks.example.count: a number is needed, not 'many'."),
        (
            {"shares": 0.1},
            "tricks.example.shares: 'shares' is not a hyperparameter of this trick. Did you mean 'share'?",
        ),
    ],
)
def test_a_build_error_names_its_place(values, message):
    with pytest.raises(InputError) as caught:
        build(Example, values, place="tricks.example")
    assert str(caught.value) == message
    with pytest.raises(InputError, match=r"test_trick\.\w+: "):
        build(Example, values)
