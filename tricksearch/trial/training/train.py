"""The training loop. It knows no trick: what they change has been put into its plan."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tricksearch.contract import (
    Batch,
    BatchTransform,
    BuildOptimizer,
    Diverged,
    Images,
    Loss,
    Rates,
    Schedule,
    Weights,
)
from tricksearch.records.settings import TrainSettings
from tricksearch.trial.training.precision import Precision
from tricksearch.trial.training.watch import Watch


@dataclass(frozen=True)
class Plan:
    """Everything that the loop needs: base settings, and what the tricks made of each part."""

    images: Images  # on the device
    epochs: int
    batch_size: int
    schedule: Schedule
    transform: BatchTransform
    loss: Loss
    optimizer: BuildOptimizer
    weights: Weights
    precision: Precision
    shuffle: torch.Generator
    step_aside: Callable[[], None]
    after_epoch: Callable[[int, nn.Module], None] | None = None  # the epoch, from 1; what it raises ends the training
    watch: Watch | None = None  # looks on

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; a last, smaller one is dropped."""
        return max(1, len(self.images) // self.batch_size)


def train(net: nn.Module, plan: Plan) -> nn.Module:
    """Train `net` in place and return the net to go on with, in evaluation mode. Raises Diverged.

    for each epoch, for each batch: transform -> forward -> loss -> backward -> step -> weights.update
    """
    net = plan.precision.place(net).train()
    optimizer = plan.optimizer(net)
    scaler = plan.precision.scaler()
    for epoch in range(plan.epochs):
        total = torch.zeros((), device=plan.precision.device)
        for step, plain in enumerate(_batches(plan)):
            plan.step_aside()
            progress = (epoch + step / plan.steps_per_epoch) / plan.epochs
            set_rates(optimizer, plan.schedule(progress))
            batch = plan.transform(plain)
            with plan.precision.autocast():
                logits = net(plan.precision.layout(batch.images))
            loss = plan.loss(logits.float(), batch)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
            plan.weights.update(net)
            total += loss.detach()
            if plan.watch is not None:
                plan.watch.step(net, optimizer, batch)
        if not torch.isfinite(total):  # asked once an epoch: on a GPU every question waits for the queue
            raise Diverged(f"the training loss was not finite in epoch {epoch + 1} of {plan.epochs}")
        if plan.after_epoch is not None:
            plan.after_epoch(epoch + 1, net)
    final = plan.weights.final(net).eval()
    # The loss of an epoch is summed before its last step, which no later loss would give away.
    if not all(torch.isfinite(weight).all() for weight in final.parameters()):
        raise Diverged(f"a weight was not finite after the last of {plan.epochs} epochs")
    return final


def _batches(plan: Plan) -> Iterator[Batch]:
    images = plan.images
    order = torch.randperm(len(images), generator=plan.shuffle, device=images.labels.device)
    for step in range(plan.steps_per_epoch):
        index = order[step * plan.batch_size : (step + 1) * plan.batch_size]
        yield Batch(to_unit(images.pixels[index]), F.one_hot(images.labels[index], images.num_classes).float())


def to_unit(pixels: Tensor) -> Tensor:
    """Pixels uint8 -> float32 in [0, 1]."""
    return pixels.float().div_(255.0)


def set_rates(optimizer: torch.optim.Optimizer, rates: Rates) -> None:
    """Set each learning rate to `rates.lr` x the one it was made with, and the momentum where there is one."""
    for group in optimizer.param_groups:
        # A trick's optimizer brings the rates that suit it, which may differ from layer to layer.
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * rates.lr
        if rates.momentum is not None and "momentum" in group:
            group["momentum"] = rates.momentum
        elif rates.momentum is not None and "betas" in group:
            group["betas"] = (rates.momentum, group["betas"][1])


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """The plain loss, for targets that are probabilities: logits (N, K) -> mean over the batch."""
    return F.cross_entropy(logits, batch.targets)


def stepped(progress: float, milestones: tuple[float, ...]) -> Rates:
    """The plain schedule: a tenth of the rate after each milestone.

    >>> round(stepped(0.6, (0.5, 0.75)).lr, 3)
    0.1
    """
    return Rates(0.1 ** sum(progress >= milestone for milestone in milestones))


def to_zero(progress: float, lr: float) -> Rates:
    """The schedule of a fine-tuning: from `lr` straight down to 0."""
    return Rates(lr * (1.0 - progress))


def plain_schedule(settings: TrainSettings) -> Schedule:
    """The schedule of a recipe without tricks."""
    return functools.partial(stepped, milestones=settings.milestones)


def plain_optimizer(settings: TrainSettings) -> BuildOptimizer:
    """What builds the optimizer of a recipe without tricks: SGD with Nesterov momentum."""

    def build(net: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            net.parameters(),
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.momentum > 0,
        )

    return build


class LastWeights:
    """The weights as the last step left them."""

    def update(self, net: nn.Module) -> None:
        """Nothing to keep."""

    def final(self, net: nn.Module) -> nn.Module:
        """The net itself."""
        return net
