"""The L1 penalty on BatchNorm scales, against autograd of the penalised loss and against the closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from tricksearch_plugins.bn_sparsity import BnSparsity, scales_of

from tricksearch import NotApplicable

MAKERS = {
    "sgd": lambda net: torch.optim.SGD(net.parameters(), lr=0.1),
    "nesterov": lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adamw": lambda net: torch.optim.AdamW(net.parameters(), lr=0.01),
}


def test_without_a_loss_each_step_moves_a_scale_by_rate_times_strength(bench):
    net = nn.BatchNorm2d(3)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([0.5, -0.5, 0.0]))
    optimizer = BnSparsity(strength=1e-3).optimizer(MAKERS["sgd"], bench)(net)
    for _ in range(10):
        for weight in net.parameters():
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
    torch.testing.assert_close(net.weight.detach(), torch.tensor([0.5 - 10 * 0.1 * 1e-3, -0.5 + 10 * 0.1 * 1e-3, 0.0]))
    assert torch.equal(net.bias, torch.zeros(3))


@pytest.mark.parametrize("maker", MAKERS)
def test_the_steps_are_those_of_the_penalised_loss(maker, bench, small_net, random_batch):
    """Whatever the optimizer makes of a gradient: the sum |scale| in the loss, differentiated by torch, agrees."""
    ours, theirs = small_net().train(), small_net().train()
    strength = 1e-3
    mine = BnSparsity(strength).optimizer(MAKERS[maker], bench)(ours)
    plain = MAKERS[maker](theirs)
    for step in range(3):
        batch = random_batch(seed=step)
        for net, optimizer, penalty in ((ours, mine, 0.0), (theirs, plain, strength)):
            loss = nn.functional.cross_entropy(net(batch.images), batch.targets)
            loss = loss + penalty * sum(scale.abs().sum() for scale in scales_of(net))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for mine_, theirs_ in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine_, theirs_, rtol=1e-4, atol=1e-6)


def test_scaled_gradients_are_penalised_after_they_were_unscaled(bench):
    net = nn.BatchNorm2d(2)
    optimizer = BnSparsity(strength=1e-3).optimizer(MAKERS["sgd"], bench)(net)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale((net(torch.ones(4, 2, 3, 3)) * 0).sum()).backward()
    scaler.step(optimizer)
    torch.testing.assert_close(net.weight.detach(), torch.full((2,), 1 - 0.1 * 1e-3))


def test_scales_get_smaller_than_without(bench, small_net):
    images = bench.train_images()
    sums = {}
    for name, build in (("plain", MAKERS["sgd"]), ("sparse", BnSparsity(1e-3).optimizer(MAKERS["sgd"], bench))):
        net = small_net().train()
        optimizer = build(net)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images.pixels / 255), images.labels).backward()
            optimizer.step()
        sums[name] = sum(float(scale.abs().sum().detach()) for scale in scales_of(net))
    # 20 steps of 0.1 x 1e-3 for each of the 288 scales, and a little for what the loss answers
    assert sums["plain"] - sums["sparse"] == pytest.approx(288 * 20 * 1e-4, rel=0.3)


def test_a_net_without_batch_norm_is_refused_but_one_that_lost_it_is_trained_on(bench):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False))
    with pytest.raises(NotApplicable, match="no BatchNorm with a scale"):
        BnSparsity().model(net, bench)
    optimizer = BnSparsity().optimizer(MAKERS["sgd"], bench)(net)
    net(torch.ones(2, 3, 5, 5)).sum().backward()
    optimizer.step()
