"""Channel pruning: the channels that go, the widths that stay, and what follows."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from tricksearch_plugins.pruning import IMPORTANCES, Pruning, epochs_of_steps, prune, scorer
from tricksearch_plugins.se import SqueezeAndExcitation

from tricksearch import NotApplicable
from tricksearch.toolkit.channels import classifier, kept_width

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
    prune(net, net[2], IMAGES, 0.5, importance=scorer(f"l{norm}"))
    assert torch.equal(net[0].weight, first[kept])
    assert torch.equal(net[2].weight, second[:, kept])


@pytest.mark.parametrize("kind", IMPORTANCES)
def test_the_result_is_that_of_torch_pruning_where_its_rounding_agrees(kind, small_net):
    import torch_pruning as tp

    ours, theirs = small_net(), small_net()
    for net in (ours, theirs):
        own = torch.Generator().manual_seed(1)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.1, 1.0, generator=own)
        nn.functional.cross_entropy(net(IMAGES), torch.tensor([0, 1])).backward()
    prune(ours, ours.head, IMAGES, 0.5, importance=scorer(kind))
    tp.pruner.BasePruner(
        theirs, IMAGES, scorer(kind), pruning_ratio=0.5, ignored_layers=[theirs.head], round_to=8
    ).step()
    assert widths(ours) == widths(theirs) == [16, 16, 16, 32, 32, 32]
    torch.testing.assert_close(ours(IMAGES), theirs(IMAGES))


def test_across_the_net_too_where_no_layer_would_be_emptied(small_net):
    """torch-pruning rounds down in place of to the nearest, so its widths are ours or 8 fewer."""
    import torch_pruning as tp

    ours, theirs = small_net(), small_net()
    prune(ours, ours.head, IMAGES, 0.3, importance=scorer("l2"), across=True)
    tp.pruner.BasePruner(
        theirs, IMAGES, scorer("l2"), pruning_ratio=0.3, ignored_layers=[theirs.head], round_to=8, global_pruning=True
    ).step()
    assert all(mine - its in (0, 8) for mine, its in zip(widths(ours), widths(theirs), strict=True))
    assert widths(ours) != [32, 32, 32, 64, 64, 64]


def test_taylor_scores_are_weights_times_gradients():
    net = chain(16)
    loss = nn.functional.cross_entropy(net(IMAGES), torch.tensor([3, 4]))
    loss.backward()
    first, second = ((net[at].weight * net[at].weight.grad).abs() for at in (0, 2))
    kept = (first.sum((1, 2, 3)) + second.sum((0, 2, 3))).argsort()[8:].sort().values
    weight = net[0].weight.detach().clone()
    prune(net, net[2], IMAGES, 0.5, importance=scorer("taylor"))
    assert torch.equal(net[0].weight, weight[kept])


def test_taylor_reads_the_training_images_of_the_bench(bench, small_net):
    """Images on which a channel has no say leave it without importance."""
    net = chain(16)
    with torch.no_grad():
        net[0].weight[8:] = -net[0].weight[8:].abs()  # images are never below 0, so behind the ReLU these are silent
        net[0].weight[:8] = net[0].weight[:8].abs() * 1e-3
        net[0].bias.zero_()
    small = net[0].weight[:8].clone()
    bench.fine_tune = lambda net, epochs, lr: net
    assert torch.equal(Pruning(importance="taylor").compress(net, bench)[0].weight, small)
    assert not torch.equal(Pruning(importance="l1").compress(net, bench)[0].weight, small)


def test_bn_scale_finds_the_channels_that_batch_norm_turns_off(bench):
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), *chain(16)[2:]).eval()
    with torch.no_grad():
        net[1].weight[::2] = 1e-4
    odd = net[0].weight[1::2].clone()
    bench.fine_tune = lambda net, epochs, lr: net
    assert torch.equal(Pruning(importance="bn_scale").compress(net, bench)[0].weight, odd)
    with pytest.raises(NotApplicable, match="no channels that 'bn_scale' could judge"):
        Pruning(importance="bn_scale").compress(chain(16), bench)


@pytest.mark.parametrize(
    ("width", "ratio", "kept"), [(8, 0.5, 8), (16, 0.8, 8), (24, 0.5, 16), (64, 0.1, 56), (64, 0.8, 16)]
)
def test_widths_stay_multiples_of_8_and_never_below(width, ratio, kept):
    net = chain(width)
    prune(net, net[2], IMAGES, ratio, importance=scorer("l1"))
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
    prune(net, net[2], IMAGES, 0.3, importance=scorer("l1"), across=True)
    assert net[0].out_channels < net[1].out_channels


def test_a_layer_that_is_weak_throughout_is_narrowed_and_not_emptied():
    """All of its channels are below the threshold: the strongest 8 stay, and others go in place of them."""
    net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 64, 3), *chain(64)[2:])
    with torch.no_grad():
        net[0].weight.fill_(0.1)
        net[1].weight[:, :] = torch.arange(64.0).pow(4).view(-1, 1, 1, 1)  # a few of these outweigh all others
        net[1].weight /= net[1].weight.mean()
    # 77 of 96 are to go: 43 of the second layer are below the first layer's 32, which are all alike; of these 24 go,
    # and the other 8 are made up for by the second layer.
    prune(net, net[2], IMAGES, 0.8, importance=scorer("l1"), across=True)
    assert (net[0].out_channels, net[1].out_channels) == (8, 8)
    assert net(IMAGES).shape == (2, 10)


@pytest.mark.parametrize("scope", ["local", "global"])
def test_no_ratio_empties_a_grouped_layer(scope):
    net = nn.Sequential(nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 3, groups=8), nn.GroupNorm(8, 32), *chain(32)[2:])
    prune(net, net[3], IMAGES, 0.8, importance=scorer("l1"), across=scope == "global")
    assert net[1].groups == 8
    assert net[1].out_channels == net[2].num_channels == 8  # one of four stays in each group
    assert net(IMAGES).shape == (2, 10)


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("steps", [2, 3, 4])
def test_several_steps_end_at_the_same_share_and_share_out_the_epochs(steps, scope, bench, small_net):
    at_once = Pruning(scope=scope, epochs=1.0).compress(small_net(), bench)
    bench.tuned.clear()
    seen = []
    tune = bench.fine_tune
    bench.fine_tune = lambda net, epochs, lr: seen.append(sum(widths(net))) or copy.deepcopy(tune(net, epochs, lr))
    in_steps = Pruning(scope=scope, epochs=1.0, steps=steps, lr=0.05).compress(small_net(), bench)
    assert sum(epochs for epochs, _ in bench.tuned) == 4
    assert len(seen) > 1
    assert all(later < sooner for sooner, later in pairwise(seen))
    if scope == "local":
        assert widths(in_steps) == widths(at_once)
    else:
        assert sum(widths(in_steps)) == pytest.approx(sum(widths(at_once)), abs=32)


def test_a_step_that_rounds_to_nothing_leaves_its_epochs_to_the_next(bench):
    """16 channels lose 2, 4, 6, 8: to the nearest multiple of 8 they stay 16, then 8 (of 12, the tie goes up)."""
    pruned = Pruning(steps=4, epochs=1.0).compress(chain(16), bench)
    assert widths(pruned)[0] == 8
    assert bench.tuned == [(4, 1.0)] or bench.tuned == [(3, 1.0), (1, 1.0)]


@given(st.integers(1, 500), st.integers(1, 10))
def test_epochs_are_shared_out(epochs, steps):
    shares = epochs_of_steps(epochs, steps)
    assert len(shares) == steps
    assert sum(shares) == max(epochs, steps)
    assert min(shares) >= 1
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("kind", IMPORTANCES)
def test_foreseeable_means_that_the_weights_do_not_matter(kind, bench, small_net):
    assert not Pruning(scope="global", importance=kind).foreseeable()
    trick = Pruning(scope="local", importance=kind, steps=2)
    assert trick.foreseeable()
    assert widths(trick.compress(small_net(seed=1), bench)) == widths(trick.compress(small_net(seed=2), bench))


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

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = timm.create_model(name, num_classes=10)
    bench = make_bench(shape=(3, 32, 32), images=8)
    pruned = Pruning(lr=0.05).compress(net, bench)
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


def test_a_net_that_cannot_be_traced_is_refused(bench):
    class Unfollowed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(48, 32), nn.Linear(32, 10)

        def forward(self, images):
            hidden = self.first(images.flatten(1)[:, :48]).view(-1, 32)  # a width in the net's own code
            return self.second(hidden)

    with pytest.raises(NotApplicable, match="the net has no channels that 'l1' could judge"):
        Pruning().compress(Unfollowed(), bench)


def test_the_mlps_of_a_vision_transformer_are_pruned(make_bench):
    import timm

    net = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=32, depth=2).eval()
    pruned = Pruning().compress(net, make_bench(shape=(3, 32, 32)))
    assert [block.attn.qkv.out_features for block in pruned.blocks] == [576, 576]
    assert [block.mlp.fc1.out_features for block in pruned.blocks] == [384, 384]


class Attention(nn.Module):
    """Heads of a fixed width, by which the net's own code reshapes, beside an MLP of any width."""

    def __init__(self, mlp: int = 32) -> None:
        super().__init__()
        self.embed, self.qkv, self.join = nn.Conv2d(3, 16, 4, 4), nn.Linear(16, 48), nn.Linear(16, 16)
        self.first, self.second, self.head = nn.Linear(16, mlp), nn.Linear(mlp, 16), nn.Linear(16, 10)

    def forward(self, images):
        rows = self.embed(images).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(rows).reshape(len(rows), -1, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        rows = rows + self.join(mixed.transpose(1, 2).reshape(len(rows), -1, 16))
        rows = rows + self.second(self.first(rows).relu())
        return self.head(rows.mean(1))


@pytest.mark.parametrize("scope", ["local", "global"])
def test_attention_stays_and_the_mlp_beside_it_is_pruned(scope, bench):
    torch.manual_seed(0)
    net = Attention()
    bench.fine_tune = lambda net, epochs, lr: net
    pruned = Pruning(ratio=0.5, scope=scope, steps=2).compress(net, bench)
    assert pruned.qkv.out_features == 48
    assert pruned.first.out_features == pruned.second.in_features < 32
    assert pruned(IMAGES).shape == (2, 10)
    assert net.first.out_features == 32
