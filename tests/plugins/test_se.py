"""Squeeze-and-excitation against timm's module, and in the nets that it has to fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.ops import SqueezeExcitation
from tricksearch_plugins.pruning import classifier, prune, scorer
from tricksearch_plugins.se import SqueezeAndExcitation, squeeze_excitation

from tricksearch import NotApplicable

BLOCKS = {  # residual blocks of each net
    "resnet18": 8,
    "resnet50": 16,
    "resnext50_32x4d": 16,
    "resnetv2_50": 16,
    "regnetx_002": 13,
    "mobilenetv2_100": 17,
}
IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def timm():
    import timm

    return timm


@pytest.fixture
def create(timm):
    def create(name: str, **options: object) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = timm.create_model(name, num_classes=10, **options)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)  # timm starts residual branches at 0, where no change would be seen
        return net

    return create


def modules_in(net: nn.Module) -> int:
    return sum(isinstance(module, SqueezeExcitation) for module in net.modules())


def test_the_module_is_that_of_timm(timm):
    ours = squeeze_excitation(64, 16, torch.Generator().manual_seed(0))
    theirs = timm.layers.SEModule(64, rd_channels=4)
    theirs.load_state_dict(ours.state_dict())
    maps = torch.randn(2, 64, 5, 7)
    torch.testing.assert_close(ours(maps), theirs(maps))
    assert (ours(maps) / maps).std() > 0


@pytest.mark.parametrize("name", BLOCKS)
def test_each_residual_block_gets_one_and_the_net_still_exports_and_prunes(
    name, create, make_bench, to_onnx, predict, tmp_path
):
    bench = make_bench(shape=(3, 32, 32))
    plain = create(name).eval()
    net = SqueezeAndExcitation(reduction=8).model(create(name), bench).eval()
    assert modules_in(net) == BLOCKS[name]
    with torch.no_grad():
        logits = net(IMAGES)
        assert not torch.allclose(logits, plain(IMAGES))
    own = dict(net.named_parameters())
    shared = [key for key in dict(plain.named_parameters()) if key in own]
    assert all(torch.equal(own[key], dict(plain.named_parameters())[key]) for key in shared)
    exported = predict(to_onnx(net, tmp_path / "net.onnx", (3, 32, 32)), IMAGES.numpy())
    torch.testing.assert_close(torch.from_numpy(exported), logits, rtol=1e-3, atol=1e-3)
    assert prune(net, classifier(net, 10), IMAGES, 0.5, importance=scorer("l1")) > 0
    assert net(IMAGES).shape == (3, 10)


def test_the_module_scales_the_branch_and_leaves_the_shortcut(bench, small_net, random_batch):
    net = SqueezeAndExcitation().model(small_net(), bench)
    assert modules_in(net) == 2
    for module in net.modules():
        if isinstance(module, SqueezeExcitation):
            nn.init.constant_(module.fc2.bias, -100.0)  # every gate shut
    block, maps = net.stages[1], torch.rand(2, 32, 8, 8)
    torch.testing.assert_close(block(maps), block.act(block.shortcut(maps)))


def test_the_net_stays_in_the_mode_and_the_running_statistics_that_it_had(bench, small_net):
    net = small_net().train()
    before = {key: value.clone() for key, value in net.state_dict().items() if "running" in key}
    changed = SqueezeAndExcitation().model(net, bench)
    assert changed.training
    after = changed.state_dict()
    assert all(torch.equal(value, after[key.replace("norm2.", "norm2.0.")]) for key, value in before.items())


def test_only_the_blocks_without_one_are_filled(create, make_bench, timm):
    net = create("mobilenetv3_small_100")
    slots = [module.se for module in net.modules() if hasattr(module, "se")]
    empty = sum(isinstance(slot, nn.Identity) for slot in slots)
    assert 0 < empty < len(slots)
    assert modules_in(SqueezeAndExcitation().model(net, make_bench(shape=(3, 32, 32)))) == empty


@pytest.mark.parametrize(
    ("name", "options"), [("vit_tiny_patch16_224", {"img_size": 32}), ("densenet121", {}), ("seresnet18", {})]
)
def test_a_net_without_a_place_for_it_is_refused(name, options, create, make_bench):
    with pytest.raises(NotApplicable, match="no residual block"):
        SqueezeAndExcitation().model(create(name, **options), make_bench(shape=(3, 32, 32)))
