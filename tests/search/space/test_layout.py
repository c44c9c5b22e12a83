"""The layout: settings and rows are two forms of one thing, and a changed row is one that can run."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tricksearch.search.space.layout import Layout, Parameter

LAYOUT = Layout(
    (
        Parameter("mix", CategoricalDistribution(["off", "blend", "cut"])),
        Parameter("se", CategoricalDistribution(["off", "on"])),
        Parameter("depth", IntDistribution(1, 5)),
        Parameter("blend.alpha", FloatDistribution(0.1, 10.0, log=True), (("mix", "blend"),)),
        Parameter("cut.kind", CategoricalDistribution([True, 1, "x", None]), (("mix", "cut"),)),
        Parameter("cut.size", IntDistribution(1, 64, log=True), (("mix", "cut"), ("cut.kind", True))),
        Parameter("se.ratio", CategoricalDistribution([4, 8, 16]), (("se", "on"),)),
    )
)
seeds = st.integers(0, 2**32)


def check(setting):
    """It holds what is active, and nothing else."""
    active = {"mix", "se", "depth"}
    active |= {"blend.alpha"} if setting["mix"] == "blend" else set()
    active |= {"cut.kind"} if setting["mix"] == "cut" else set()
    active |= {"cut.size"} if setting.get("cut.kind") is True else set()
    active |= {"se.ratio"} if setting["se"] == "on" else set()
    assert set(setting) == active
    for each in LAYOUT.parameters:
        if each.name in setting:
            assert each.domain._contains(each.domain.to_internal_repr(setting[each.name]))


@given(seed=seeds, changes=st.integers(1, 9))
def test_what_is_drawn_changed_or_crossed_can_run_and_leads_back_to_itself(seed, changes):
    random = np.random.default_rng(seed)
    rows = LAYOUT.random(6, random)
    changed = LAYOUT.changed(rows, changes, random)
    crossed = LAYOUT.settled(np.where(random.random(rows.shape) < 0.5, rows, changed), random)
    for row in (*rows, *changed, *crossed):
        setting = LAYOUT.setting(row)
        check(setting)
        np.testing.assert_allclose(LAYOUT.row(setting), row, atol=1e-9)
        assert list(LAYOUT.domains(setting)) == list(setting)


@given(seed=seeds)
def test_one_change_changes_one_parameter_and_what_hangs_on_it(seed):
    random = np.random.default_rng(seed)
    row = LAYOUT.random(1, random)
    before, after = (LAYOUT.setting(each[0]) for each in (row, LAYOUT.changed(row, 1, random)))
    hanging = {"mix": {"blend.alpha", "cut.kind", "cut.size"}, "se": {"se.ratio"}, "cut.kind": {"cut.size"}}
    differing = {
        name for name in {*before, *after} if (name in before, before.get(name)) != (name in after, after.get(name))
    }
    roots = [name for name in differing if not any(name in hanging.get(other, ()) for other in differing)]
    assert len(roots) <= 1


@given(seed=seeds, n=st.integers(1, 30))
def test_what_a_model_reads_is_complete_and_tells_settings_apart(seed, n):
    rows = LAYOUT.random(n, np.random.default_rng(seed))
    codes = LAYOUT.coded(rows)
    assert np.isfinite(codes).all()
    ordered = codes[:, ~LAYOUT.nominal]
    assert ((ordered >= 0) & (ordered <= 1)).all()
    assert len(np.unique(codes.round(9), axis=0)) == len({LAYOUT.key(LAYOUT.setting(row)) for row in rows})


def test_every_value_is_drawn_equally_often_and_what_is_fixed_stays():
    random = np.random.default_rng(0)
    settings = [LAYOUT.setting(row) for row in LAYOUT.random(3000, random, fixed={"se": "on"})]
    assert {each["se"] for each in settings} == {"on"}
    for name, count in (("mix", 3), ("depth", 5), ("se.ratio", 3)):
        shares = Counter(each[name] for each in settings)
        assert len(shares) == count
        assert all(abs(share - 3000 / count) < 5 * math.sqrt(3000 / count) for share in shares.values())
    alphas = [math.log10(each["blend.alpha"]) for each in settings if "blend.alpha" in each]
    assert abs(np.mean(alphas)) < 0.1, "a log range is drawn evenly in its logarithm"


def test_the_grid_holds_each_combination_once():
    total, nth = LAYOUT.grid()
    found = [nth(at) for at in range(total)]
    for setting in found:
        check(setting)
    assert len({LAYOUT.key(setting) for setting in found}) == total
    sizes = dict.fromkeys(each["cut.size"] for each in found if "cut.size" in each)
    # off, blend x 3 alphas, cut x 3 other kinds, and the first kind x 3 sizes; se off or 3 ratios; 5 depths in 3 levels
    assert total == (1 + 3 + 3 + 3) * (1 + 3) * 3
    assert list(sizes) == [1, 8, 64]


@pytest.mark.parametrize("value", [True, 1])
def test_a_truth_value_is_no_number(value):
    kind = next(each for each in LAYOUT.parameters if each.name == "cut.kind")
    assert kind.value(kind.number(value)) is value


def test_an_empty_layout_has_one_setting():
    empty = Layout(())
    assert empty.setting(empty.random(1, np.random.default_rng(0))[0]) == {}
    assert empty.grid()[0] == 1
    assert empty.changed(empty.random(2, np.random.default_rng(0)), 1, np.random.default_rng(0)).shape == (2, 0)
