"""Factorised convolutions: exact at full rank, closest below it, and only where they are cheaper."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tricksearch_plugins.low_rank import FORMS, LowRank, factorize, pair, rank_of, split

from tricksearch import NotApplicable


def conv(inputs=6, outputs=10, size=3, **options) -> nn.Conv2d:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Conv2d(inputs, outputs, size, **options)


def full_rank(layer: nn.Conv2d, form: str) -> int:
    outputs, inputs, height, width = layer.weight.shape
    return min(outputs, inputs * height * width) if form == "channel" else min(inputs * height, outputs * width)


def macs(net: nn.Module, images: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(images)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"stride": 2, "padding": 1},
        {"stride": (1, 2), "padding": (2, 0), "dilation": (2, 1)},
        {"size": (5, 3), "padding": (2, 1)},
        {"size": (1, 7)},
    ],
    ids=str,
)
def test_at_full_rank_a_pair_computes_what_the_one_did(form, options):
    layer = conv(**options)
    images = torch.rand(2, 6, 12, 13)
    both = pair(layer, full_rank(layer, form), form)
    torch.testing.assert_close(both(images), layer(images), rtol=1e-4, atol=1e-5)


@settings(max_examples=30)
@given(
    st.sampled_from(FORMS),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 8),
)
def test_the_error_is_that_of_the_singular_values_left_out(form, outputs, inputs, height, width, rank):
    weight = torch.rand(outputs, inputs, height, width, generator=torch.Generator().manual_seed(rank)).double()
    matrix = weight.flatten(1) if form == "channel" else weight.permute(1, 2, 0, 3).reshape(inputs * height, -1)
    values = torch.linalg.svdvals(matrix)
    rank = min(rank, len(values))
    first, second = split(weight, rank, form)
    if form == "channel":
        product = torch.einsum("rihw,or->oihw", first, second[:, :, 0, 0])
    else:
        product = torch.einsum("rih,orw->oihw", first[..., 0], second[:, :, 0])
    assert float((product - weight).square().sum()) == pytest.approx(float(values[rank:].square().sum()), abs=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 32), (32, 32), (64, 16), (16, 96)])
def test_a_rank_is_given_where_the_counted_multiplications_get_fewer(form, share, stride, inputs, outputs):
    layer = conv(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    images = torch.zeros(1, inputs, 32, 32)
    wanted = max(8, round(share * outputs / 8) * 8)
    wanted = min(wanted, full_rank(layer, form))
    saves = macs(pair(layer, wanted, form), images) < macs(layer, images)
    assert rank_of(layer, share, form) == (wanted if saves else 0)


def test_what_cannot_be_split_stays(small_net):
    class Own(nn.Conv2d):
        pass

    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(
            nn.Conv2d(64, 64, 3, groups=64),
            nn.Conv2d(64, 64, 3, padding="same"),
            nn.Conv2d(64, 64, 3, padding=1, padding_mode="reflect"),
            Own(64, 64, 3),
            nn.Linear(64, 64),
        )
    assert [factorize(net, 0.5, form) for form in FORMS] == [0, 0]


@pytest.mark.parametrize("form", FORMS)
def test_the_hook_makes_a_copy_cheaper_and_fine_tunes_it(form, bench, small_net):
    net = small_net()
    images = torch.zeros(1, 3, 16, 16)
    before, kept = macs(net, images), [weight.clone() for weight in net.parameters()]
    low = LowRank(form=form, rank=0.25, epochs=0.6, lr=0.05).compress(net, bench)
    assert macs(low, images) < 0.6 * before
    assert all(map(torch.equal, kept, net.parameters()))
    assert bench.tuned == [(2, 0.05)]  # 0.6 x 4 epochs
    ranks = [module.out_channels for module in low.modules() if isinstance(module, nn.Conv2d)]
    assert all(rank % 8 == 0 for rank in ranks)


@pytest.mark.parametrize("form", FORMS)
def test_the_exported_file_computes_what_the_net_does(form, bench, small_net, to_onnx, predict):
    net = LowRank(form=form).compress(small_net(), bench)
    images = torch.from_numpy(bench.calibration_images(4))
    exported = torch.from_numpy(predict(to_onnx(net, bench.folder / "net.onnx"), images.numpy()))
    torch.testing.assert_close(exported, net(images), rtol=1e-3, atol=1e-3)


def test_shapes_are_foreseen(bench, small_net):
    trick = LowRank()
    assert trick.foreseeable()
    shapes = [[weight.shape for weight in trick.compress(small_net(seed), bench).parameters()] for seed in (1, 2)]
    assert shapes[0] == shapes[1]


def test_a_net_that_gains_nothing_is_refused(bench):
    with pytest.raises(NotApplicable, match=r"no convolution gets cheaper as two with 90% .* \(form: channel\)"):
        LowRank(rank=0.9).compress(nn.Sequential(conv(3, 8)), bench)
    assert bench.tuned == []
