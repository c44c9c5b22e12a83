"""The space: a recipe drawn from it is one that can run, and its parameters lead back to it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tricksearch.contract import Choice, Float, InputError, Int, Net, domains
from tricksearch.records.recipe import Recipe
from tricksearch.search.space.space import Space
from tricksearch.study.study import Study, TrickUse

CARD = '"""{name}: a trick of the tests.\n\nPaper: none\nUse when: testing.\nAvoid when: never.\nCost: none.\n"""\n'
CODE = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated, Any
from tricksearch import Choice, Float, Int, Net, Trick


@dataclass(frozen=True)
class Some(Trick):
    {body}

    def loss(self, loss, bench):
        return loss
"""
TRICKS = {
    "blend": 'claims = "tests.mix"; alpha: Annotated[float, Float(0.0, 1.0)] = 0.4',
    "patch": 'claims = "tests.mix"; size: Annotated[int, Int(1, 4)] = 1',
    "cover": 'claims = "tests.mix"',
    "anneal": 'claims = "tests.schedule"; peak: Annotated[float, Float(0.001, 10.0, log=True)] = 1.0',
    "squeeze": "reduction: Annotated[int, Choice(4, 8, 16)] = 8; bias: Annotated[bool, Choice(True, False)] = True",
    "teach": 'teacher: Annotated[Any, Net()] = ""',
    "plain": "pass",
}
RECIPE = {"net": {"name": "resnet_small"}, "train": {"epochs": 2}}
FULL = {
    "blend": {"alpha": [0.0, 1.0]},
    "patch": {"size": [1, 4]},
    "cover": {},
    "anneal": {"peak": [0.001, 10.0]},
    "squeeze": {"reduction": [4, 8, 16], "bias": [True, False]},
    "teach": {"teacher": ["", "resnet18", RECIPE]},
    "plain": {},
}


def tricks_of(folder, bodies):
    from tricksearch.contract import discover

    for name, body in bodies.items():
        (folder / f"{name}.py").write_text(CARD.format(name=name) + CODE.format(body=body.replace("; ", "\n    ")))
    return discover([folder])


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return tricks_of(tmp_path_factory.mktemp("tricks"), TRICKS)


def study_of(uses):
    return Study(name="tests", tricks={name: TrickUse(**use) for name, use in uses.items()})


def drawn(space, seed):
    """A setting of the space, at random."""
    layout = space.layout()
    return layout.setting(layout.random(1, np.random.default_rng(seed))[0])


def recipe_of(space, seed):
    return space.tricks_of(drawn(space, seed))


def test_tricks_of_one_claim_become_one_choice(registry):
    space = Space.of(study_of(FULL), registry)
    assert space.layout().roots() == {
        "anneal": ["off", "on"],  # nothing rivals it, so its claim is no choice
        "tests.mix": ["off", "blend", "cover", "patch"],
        "plain": ["off", "on"],
        "squeeze": ["off", "on"],
        "teach": ["off", "on"],
    }


uses = st.fixed_dictionaries(
    {name: st.sampled_from(["search", "search", "never"]) for name in TRICKS},
).flatmap(
    lambda use: st.sampled_from([use, use | {"blend": "always"}, use | {"squeeze": "always", "anneal": "always"}])
)


@given(uses=uses, seed=st.integers(0, 2**32))
def test_what_is_drawn_can_run_and_leads_back_to_itself(registry, uses, seed):
    study = study_of({name: {"use": use, **({} if use == "never" else FULL[name])} for name, use in uses.items()})
    space = Space.of(study, registry)
    setting = drawn(space, seed)
    tricks = space.tricks_of(setting)

    assert [name for name in tricks if uses[name] == "never"] == []
    assert {name for name, use in uses.items() if use == "always"} <= set(tricks)
    claims = [registry[name].claims for name in tricks if registry[name].claims]
    assert len(claims) == len(set(claims))
    for name, values in tricks.items():
        assert list(values) == list(domains(registry[name]))
        for field, domain in domains(registry[name]).items():
            assert domain.check(values[field]) == values[field]
            if isinstance(domain, Float):
                assert float(f"{values[field]:.4g}") == values[field]
    Recipe(tricks=tricks).build_tricks(registry)  # the engine takes it

    parameters = space.parameters(tricks)
    assert set(parameters) == set(setting)
    assert space.tricks_of(parameters) == tricks


@given(seed=st.integers(0, 2**32))
def test_a_narrowed_or_fixed_field_stays_there(registry, seed):
    narrowed = {
        "blend": {"use": "always", "alpha": [0.33333333, 0.33334]},
        "squeeze": {"use": "always", "reduction": [16], "bias": [False, True]},
        "anneal": {"use": "always", "peak": 0.123456},
        "teach": {"use": "always", "teacher": RECIPE},
    }
    space = Space.of(study_of(narrowed), registry)
    setting = drawn(space, seed)
    tricks = space.tricks_of(setting)
    assert set(setting) == {"blend.alpha", "squeeze.bias"}  # the rest has one value, which is not drawn
    assert 0.33333333 <= tricks["blend"]["alpha"] <= 0.33334
    assert tricks["squeeze"]["reduction"] == 16
    assert tricks["anneal"]["peak"] == 0.123456
    assert tricks["teach"]["teacher"] == RECIPE


def test_a_forced_trick_leaves_its_rivals_no_room(registry):
    space = Space.of(study_of(FULL | {"patch": {"use": "always", "size": 2}}), registry)
    assert "tests.mix" not in space.layout().roots()
    assert all(set(recipe_of(space, seed)) & {"blend", "cover", "patch"} == {"patch"} for seed in range(20))


ON = {"patch": {"size": 2}, "squeeze": {"reduction": 8, "bias": True}}


@pytest.mark.parametrize(
    ("tricks", "fits"),
    [
        (ON, True),
        ({"patch": {"size": 2}}, False),  # without what is forced
        ({}, False),
        (ON | {"cover": {}}, False),  # two of one claim
        (ON | {"anneal": {"peak": 1.0}}, False),  # a trick that the study never uses
        (ON | {"unknown": {}}, False),
        (ON | {"patch": {"size": 5}}, False),
        (ON | {"patch": {"size": "2"}}, False),
        (ON | {"patch": {}}, False),
        (ON | {"patch": {"size": 2, "more": 1}}, False),
        (ON | {"squeeze": {"reduction": 4, "bias": True}}, False),  # fixed at 8
        (ON | {"squeeze": {"reduction": 8, "bias": 1}}, False),  # 1 is not True
    ],
)
def test_a_recipe_from_elsewhere_fits_or_does_not(registry, tricks, fits):
    uses = {"patch": FULL["patch"], "cover": {}, "anneal": {"use": "never"}}
    space = Space.of(study_of(uses | {"squeeze": {"use": "always", "reduction": 8, "bias": True}}), registry)
    assert (space.parameters(tricks) is not None) == fits


def test_the_size_counts_the_distinct_recipes(registry):
    discrete = {name: FULL[name] for name in ("patch", "cover", "squeeze", "plain")}
    space = Space.of(study_of(discrete | {"teach": {"use": "always", "teacher": ["", RECIPE]}}), registry)
    seen = {Recipe(tricks=recipe_of(space, seed)).key for seed in range(5000)}
    assert space.size() == len(seen) == (1 + 4 + 1) * (1 + 3 * 2) * 2 * 2
    assert Space.of(study_of(FULL), registry).size() is None
    assert Space.of(study_of({"plain": {"use": "always"}}), registry).size() == 1


def test_every_kind_of_domain_is_known(registry):
    known = {type(domain) for name in TRICKS for domain in domains(registry[name]).values()}
    assert known == {Float, Int, Choice, Net}


def test_a_claim_that_has_the_name_of_a_trick_is_refused(tmp_path):
    registry = tricks_of(tmp_path, {"one": 'claims = "three"', "two": 'claims = "three"', "three": "pass"})
    with pytest.raises(InputError, match="'three' has the name of another trick") as error:
        Space.of(study_of({"one": {}, "two": {}, "three": {}}), registry)
    assert error.value.place == str(tmp_path / "one.py")


POST = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated
from tricksearch import Choice, Float, Int, Trick


@dataclass(frozen=True)
class Some(Trick):
    {body}

    def {hook}(self, thing, bench):
        return thing
"""
LATER = {
    "train_only": ("loss", "pass"),
    "trim": ("compress", "share: Annotated[float, Float(0.1, 0.9)] = 0.5"),
    "small": ("deploy", 'claims = "p"; kind: Annotated[str, Choice("a", "b", "c")] = "b"'),
    "half": ("deploy", 'claims = "p"'),
    "slow": ("deploy", 'claims = "p"; branches = False'),
    "engine": ("runtime", "streams: Annotated[int, Int(1, 4)] = 2"),
    "round": (
        "deploy",
        'mode: Annotated[str, Choice("once", "live")] = "once"; '
        'way: Annotated[str, Choice("min", "max", "mean", when={"mode": "once"})] = "min"; '
        'bits: Annotated[int, Int(4, 8, when={"mode": "once"})] = 6; '
        "shift: Annotated[bool, Choice(False, True)] = False",
    ),
}
ROUND = {"round": {"mode": ["once", "live"], "way": ["min", "max", "mean"], "bits": [4, 8], "shift": [False, True]}}


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    from tricksearch.contract import discover

    folder = tmp_path_factory.mktemp("later")
    for name, (hook, body) in LATER.items():
        text = POST.format(hook=hook, body=body.replace("; ", "\n    "))
        (folder / f"{name}.py").write_text(CARD.format(name=name) + text)
    return discover([folder])


def space_of_later(registry, **uses):
    given = {
        "train_only": {},
        "trim": {"share": [0.1, 0.9]},
        "small": {"kind": ["a", "b", "c"]},
        "half": {},
        "slow": {},
        "engine": {"streams": [1, 4]},
    } | uses
    study = Study(name="later", tricks={name: TrickUse.model_validate(use) for name, use in given.items()})
    return Space.of(study, registry)


def test_variants_put_what_comes_after_training_on_and_off(later):
    space = space_of_later(later)
    found = space.variants({"train_only": {}, "trim": {"share": 0.3}}, "search")
    assert all("train_only" in tricks for tricks in found)
    names = {tuple(sorted(set(tricks) - {"train_only"})) for tricks in found}
    precision, runtime = ((), ("half",), ("small",)), ((), ("engine",))
    every = {tuple(sorted((*p, *r, *t))) for p in precision for r in runtime for t in ((), ("trim",))}
    assert names == every - {("trim",)}
    assert len(found) == len(names)
    assert {tricks["trim"]["share"] for tricks in found if "trim" in tricks} == {0.3}
    assert {tricks["small"]["kind"] for tricks in found if "small" in tricks} == {"b"}, "the recommended value"
    beside = space.variants({"slow": {}}, "search")
    assert {"slow": {}, "engine": {"streams": 2}} in beside, "what was drawn is varied with the others"


def test_variants_keep_the_values_that_were_drawn_and_add_no_compression(later):
    space = space_of_later(later)
    here = {"small": {"kind": "c"}, "engine": {"streams": 4}}
    found = space.variants(here, "search")
    assert here not in found
    assert len(found) == 3 * 2 - 1
    assert not any("trim" in tricks for tricks in found)
    assert {tricks["small"]["kind"] for tricks in found if "small" in tricks} == {"c"}
    assert {tricks["engine"]["streams"] for tricks in found if "engine" in tricks} == {4}


def test_all_variants_take_each_choice(later):
    found = space_of_later(later).variants({}, "all")
    assert {tricks["small"]["kind"] for tricks in found if "small" in tricks} == {"a", "b", "c"}
    assert len(found) == (1 + 3 + 1 + 1) * 2 - 1


def test_what_is_not_heeded_is_neither_drawn_nor_varied(later):
    space = Space.of(study_of({name: {"use": "always", **use} for name, use in ROUND.items()}), later)
    seen = set()
    for seed in range(900):
        setting = drawn(space, seed)
        tricks = space.tricks_of(setting)
        mode, way, bits, shift = tricks["round"].values()
        heeded = {"round.way", "round.bits"} if mode == "once" else set()
        assert set(setting) == {"round.mode", "round.shift"} | heeded
        assert (way, bits) == ("min", 6) or mode == "once"
        assert space.parameters(tricks) == setting
        seen.add((mode, way, bits, shift))
    assert space.size() == len(seen) == (1 + 3 * 5) * 2


def test_all_variants_vary_only_what_is_heeded(later):
    space = Space.of(study_of({"round": {"use": "search"} | ROUND["round"]}), later)
    found = [tuple(each["round"].values()) for each in space.variants({}, "all")]
    every = [("once", way, 6, shift) for way in ("min", "max", "mean") for shift in (False, True)]
    assert sorted(found) == sorted([*every, ("live", "min", 6, False), ("live", "min", 6, True)])
    here = {"round": {"mode": "once", "way": "max", "bits": 4, "shift": True}}
    live = [each["round"] for each in space.variants(here, "all") if each and each["round"]["mode"] == "live"]
    assert [(each["way"], each["bits"]) for each in live] == [("min", 6)] * 2, "what was drawn means nothing there"


def test_a_record_from_before_a_condition_is_still_read(later):
    space = Space.of(study_of({name: {"use": "always", **use} for name, use in ROUND.items()}), later)
    assert space.parameters({"round": {"mode": "live", "way": "mean", "bits": 8, "shift": True}}) == {
        "round.mode": "live",
        "round.shift": True,
    }
    assert space.parameters({"round": {"mode": "once", "way": "none", "bits": 8, "shift": True}}) is None


def test_a_condition_on_what_a_study_has_fixed(later):
    fixed = {"use": "always", "mode": "live", "way": ["max", "mean"], "bits": [7, 8], "shift": True}
    space = Space.of(study_of({"round": fixed}), later)
    assert space.size() == 1
    assert drawn(space, 0) == {}
    assert space.tricks_of({}) == {"round": {"mode": "live", "way": "max", "bits": 7, "shift": True}}
    assert Space.of(study_of({"round": fixed | {"mode": "once"}}), later).size() == 2 * 2


@pytest.mark.parametrize("how", ["all", "search", "none"])
@given(seed=st.integers(0, 2**32))
def test_variants_are_other_recipes_of_the_space_that_train_the_same(later, how, seed):
    space = space_of_later(later, small={"kind": ["a", "c"]}, engine={"streams": [3, 3], "use": "always"})
    here = recipe_of(space, seed)
    found = space.variants(here, how)
    assert bool(found) == (how != "none")
    assert here not in found
    for tricks in found:
        assert space.parameters(tricks) is not None
        assert ("train_only" in tricks) == ("train_only" in here)
        assert tricks["engine"] == {"streams": 3}
        assert found.count(tricks) == 1
