"""Channel pruning: the channels that go, the widths that stay, and what follows."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from tricksearch_plugins.pruning import Pruning, classifier, kept_width, prune
from tricksearch_plugins.se import SqueezeAndExcitation

from tricksearch import NotApplicable

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def widths(net: nn.Module) -> list[int]:
    return [module.out_channels for module in net.modules() if isinstance(module, nn.Conv2d)]


def chain(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


@pytest.mark.parametrize("norm", [1, 2])
def test_the_channels_with_the_smallest_norm_go(norm):
    net = chain(32)
    own = torch.Generator().manual_seed(0)
    with torch.no_grad():
        net[0].weight.normal_(generator=own)
        net[2].weight.normal_(generator=own)
    first, second = net[0].weight.clone(), net[2].weight.clone()
    # The importance of a channel: of what makes it and what reads it, each norm to the power of itself, summed.
    importance = first.abs().pow(norm).sum((1, 2, 3)) + second.abs().pow(norm).sum((0, 2, 3))
    kept = importance.argsort()[16:].sort().values
    prune(net, net[2], IMAGES, 0.5, norm=norm, across=False)
    assert torch.equal(net[0].weight, first[kept])
    assert torch.equal(net[2].weight, second[:, kept])


def test_the_result_is_that_of_torch_pruning_where_its_rounding_agrees(small_net):
    import torch_pruning as tp

    ours, theirs = small_net(), small_net()
    prune(ours, ours.head, IMAGES, 0.5, norm=2, across=False)
    tp.pruner.BasePruner(
        theirs,
        IMAGES,
        tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.5,
        ignored_layers=[theirs.head],
        round_to=8,
    ).step()
    assert widths(ours) == widths(theirs) == [16, 16, 16, 32, 32, 32]
    torch.testing.assert_close(ours(IMAGES), theirs(IMAGES))


@pytest.mark.parametrize(
    ("width", "ratio", "kept"), [(8, 0.5, 8), (16, 0.8, 8), (24, 0.5, 16), (64, 0.1, 56), (64, 0.8, 16)]
)
def test_widths_stay_multiples_of_8_and_never_below(width, ratio, kept):
    net = chain(width)
    prune(net, net[2], IMAGES, ratio, norm=1, across=False)
    assert net[0].out_channels == kept


def test_kept_width_never_grows():
    assert all(0 < kept_width(width, removed) <= width for width in range(1, 70) for removed in range(width))


def test_across_the_net_the_weaker_layer_loses_more():
    net = nn.Sequential(
        nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3), nn.Conv2d(64, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with torch.no_grad():
        for layer in net[:3]:
            nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
        net[0].weight[:40] *= 1e-3
        net[1].weight[:, :40] *= 1e-3
    prune(net, net[2], IMAGES, 0.3, norm=1, across=True)
    assert net[0].out_channels < net[1].out_channels


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("with_se", [False, True])
def test_the_hook_prunes_a_copy_and_fine_tunes_it(scope, with_se, bench, small_net):
    net = SqueezeAndExcitation().model(small_net(), bench) if with_se else small_net()
    before = sum(weight.numel() for weight in net.parameters())
    pruned = Pruning(scope=scope, epochs=0.6, lr=0.05).compress(net, bench)
    assert sum(weight.numel() for weight in net.parameters()) == before
    assert 0.15 < sum(weight.numel() for weight in pruned.parameters()) / before < 0.4
    assert all(width % 8 == 0 for width in widths(pruned) if width > 4)
    assert bench.tuned == [(2, 0.05)]  # 0.6 x 4 epochs


def test_fine_tuning_takes_one_epoch_at_least(bench, small_net):
    Pruning(epochs=0.1).compress(small_net(), bench)
    assert bench.tuned == [(1, 1.0)]


@pytest.mark.parametrize(("name", "share"), [("resnet18", 0.3), ("mobilenetv2_100", 0.4), ("resnext50_32x4d", 0.4)])
def test_timm_nets(name, share, make_bench, to_onnx, predict, tmp_path):
    import timm

    net = timm.create_model(name, num_classes=10)
    bench = make_bench(shape=(3, 32, 32), images=8)
    pruned = Pruning().compress(net, bench)
    assert sum(map(torch.numel, pruned.parameters())) < share * sum(map(torch.numel, net.parameters()))
    images = torch.rand(3, 3, 32, 32)
    exported = torch.from_numpy(predict(to_onnx(pruned, tmp_path / "net.onnx", (3, 32, 32)), images.numpy()))
    torch.testing.assert_close(exported, pruned(images), rtol=1e-3, atol=1e-3)


def test_the_classifier_is_the_last_layer_with_an_output_for_each_class():
    net = nn.Sequential(nn.Conv2d(3, 10, 3), nn.Conv2d(10, 10, 3), nn.Flatten(), nn.Linear(10, 10), nn.Linear(10, 32))
    assert classifier(net, 10) is net[3]
    with pytest.raises(NotApplicable, match="7 outputs"):
        classifier(net, 7)


def test_a_net_too_narrow_is_refused(bench):
    with pytest.raises(NotApplicable, match="no layer is wide enough"):
        Pruning().compress(chain(8), bench)
    assert bench.tuned == []


def test_a_net_that_cannot_be_traced_is_refused(make_bench):
    import timm

    net = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=32, depth=2)
    with pytest.raises(NotApplicable, match="cannot follow the channels"):
        Pruning().compress(net, make_bench(shape=(3, 32, 32)))
