"""Where a net rounds, and that its weights come back unrounded."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tricksearch.toolkit.fake_quant import observe, take_weights, with_rounding
from tricksearch.trial.training.resnet import SmallResNet


def identity(values: Tensor, *_: Tensor) -> Tensor:
    return values


@pytest.fixture(autouse=True)
def _own_random_numbers():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def places(net: nn.Module) -> list[str]:
    """What each rounding rounds."""
    traced = with_rounding(net.eval(), identity, identity)
    nodes = [node for node in traced.graph.nodes if str(node.target).startswith("rounded_")]
    return [str(node.all_input_nodes[0].name) for node in nodes]


def test_it_rounds_behind_a_relu_and_once_at_each_place():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Identity(), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.SiLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip
    # The pooling and the flattening move what is rounded already; SiLU is a function of its own to the file.
    assert places(net) == ["input_1", "_2", "_4", "_5", "_6", "_8"]


def test_an_addition_rounds_what_it_reads_and_what_is_read_of_it():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 3, 1), nn.ReLU()

        def forward(self, x):
            return self.act(self.conv(x) + x) * 2 + 1

    assert places(Block()) == ["x", "conv", "act"]


def test_rounding_with_the_identity_changes_nothing():
    net = SmallResNet(3, 10, (8, 16), 1).eval()
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(with_rounding(net, identity, identity)(images), net(images))


def test_ranges_are_those_of_all_images_and_follow_training():
    net = nn.Sequential(nn.Conv2d(1, 1, 1)).eval()
    seen = []
    traced = with_rounding(net, identity, lambda values, low, high: seen.append((float(low), float(high))) or values)
    observe(traced, [torch.full((1, 1, 2, 2), value) for value in (0.5, -3.0, 2.0)])
    assert seen == []
    traced(torch.zeros(1, 1, 2, 2))
    assert seen[0] == (-3.0, 2.0)
    seen.clear()
    traced.train()(torch.full((1, 1, 2, 2), 1.0))
    assert seen[0] == pytest.approx((-3.0 + 0.1 * 4.0, 2.0 - 0.1 * 1.0))


def test_weights_are_used_rounded_trained_unrounded_and_come_back():
    net = SmallResNet(3, 10, (8, 16), 1).eval()
    traced = with_rounding(net, lambda weight: weight * 0, identity)
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(traced(images), traced(images * 0))
    names = {name for name, _ in net.named_parameters()}
    with torch.no_grad():
        for index, weight in enumerate(traced.parameters()):
            weight.fill_(index)
    take_weights(net, traced)
    assert len({float(weight.detach().flatten()[0]) for weight in net.parameters()}) == len(names)
    assert {name for name, _ in net.named_parameters()} == names
