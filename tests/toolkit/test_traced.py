"""Folding BatchNorms: the same function, fewer layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tricksearch.toolkit.traced import fold_batch_norms
from tricksearch.trial.training.nets import Normalize
from tricksearch.trial.training.resnet import SmallResNet


def lived(net: nn.Module) -> nn.Module:
    """Give each BatchNorm statistics and an affine of its own."""
    own = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight, module.running_var):
                nn.init.uniform_(value, 0.5, 2.0, generator=own)
            for value in (module.bias, module.running_mean):
                nn.init.normal_(value, generator=own)
    return net.eval()


def norms(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


@pytest.fixture(autouse=True)
def _own_random_numbers():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_a_residual_net_computes_the_same_without_a_norm():
    net = lived(nn.Sequential(Normalize((0.5,) * 3, (0.25,) * 3), SmallResNet(3, 10, (8, 16), 1)))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    images = torch.rand(3, 3, 16, 16)
    folded = fold_batch_norms(net)
    assert (norms(net), norms(folded)) == (6, 0)
    torch.testing.assert_close(folded(images), net(images), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("name", "left"), [("resnet18", 0), ("mobilenetv2_100", 0), ("mobilenetv3_small_100", 0), ("densenet121", 62)]
)
def test_timm_nets(name, left):
    """A DenseNet's norms come before its convolutions: those that read a concatenation stay."""
    import timm

    net = lived(timm.create_model(name, num_classes=10))
    images = torch.rand(2, 3, 64, 64)
    folded = fold_batch_norms(net)
    assert norms(folded) == left
    with torch.no_grad():
        logits = net(images)
        torch.testing.assert_close(folded(images) / logits.abs().max(), logits / logits.abs().max(), rtol=0, atol=1e-3)


def test_a_convolution_with_another_reader_or_another_call_keeps_its_norm():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            self.shared, self.after = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x):
            seen = self.conv(x)
            x = self.norm(seen) + seen
            return self.after(self.shared(self.shared(x)))

    net = lived(Twice())
    folded = fold_batch_norms(net)
    assert norms(folded) == 2
    images = torch.rand(2, 3, 4, 4)
    assert torch.equal(folded(images), net(images))
