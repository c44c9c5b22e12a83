"""What a training was seen to do, whatever its recipe says: the part of an ablation that a trick's name may hide.

The watch sums on the training's device and asks for nothing before the end; it draws from no random stream and changes
nothing that it is shown, so a training is the same bit for bit with it and without.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tricksearch.contract import Batch, BatchTransform, Images, Loss
from tricksearch.trial.training.precision import Precision


class Watch:
    """Looks on at one training: at its batches, its targets as they reach the loss, its optimizer and its rates."""

    def __init__(self, images: Images, steps_per_epoch: int, precision: Precision) -> None:
        self._images, self._steps_per_epoch, self._precision = len(images), steps_per_epoch, precision
        self._steps = self._rows = self._area = 0
        self._lr_sum = self._lr_max = 0.0
        self._fixed: dict[str, Any] = {}  # what the first step tells
        self._targets: Tensor | None = None
        self._sums: dict[str, Tensor] = {}
        self._looks = 0  # batches whose pixels were compared
        self._looking = False
        self._around: tuple[Tensor, Tensor] | None = None

    def augmentation(self, transform: BatchTransform) -> BatchTransform:
        """The study's own augmentation, whose changes are no trick's."""

        def watched(batch: Batch) -> Batch:
            if not self._looking:
                return transform(batch)
            given = batch.images.clone()  # a transform may work in place
            done = transform(batch)
            self._around = given, done.images.clone()
            return done

        return watched

    def whole(self, transform: BatchTransform) -> BatchTransform:
        """All that is done to a batch. The first one of each epoch is compared, pixel by pixel."""

        def watched(batch: Batch) -> Batch:
            if self._steps % self._steps_per_epoch:
                return transform(batch)
            plain = batch.images.clone()
            self._looking, self._around = True, None
            try:
                done = transform(batch)
            finally:
                self._looking = False
            # What was done before the augmentation and what was done behind it; all of it where that was left out.
            given, augmented = self._around or (plain, plain)
            self._around = None
            if plain.shape == given.shape and augmented.shape == done.images.shape:
                self._add("pixel_change", (given - plain).abs().mean() + (done.images - augmented).abs().mean())
                self._looks += 1
            return done

        return watched

    def loss(self, loss: Loss) -> Loss:
        """One loss of the chain: the innermost that is called in a step is the last to say what its targets are."""

        def watched(logits: Tensor, batch: Batch) -> Tensor:
            self._targets = batch.targets
            return loss(logits, batch)

        return watched

    def step(self, net: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        """A step was taken on this batch."""
        groups = optimizer.param_groups
        if not self._steps:
            first = groups[0]
            self._fixed = {
                "optimizer": type(optimizer).__name__,
                "momentum": float(first.get("momentum", (first.get("betas") or (0.0,))[0])),
                "weight_decay": max(float(group.get("weight_decay", 0.0)) for group in groups),
                "params": sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad),
            }
        rate = max(float(group["lr"]) for group in groups)
        self._lr_sum, self._lr_max = self._lr_sum + rate, max(self._lr_max, rate)
        self._steps += 1
        self._rows += len(batch.images)
        self._area += batch.images.shape[-2] * batch.images.shape[-1]
        targets, self._targets = self._targets, None
        if targets is not None and targets.ndim == 2:
            share = targets.detach().float()
            largest = share.amax(dim=1)
            self._add("target_top", largest.mean())
            self._add("target_entropy", torch.special.entr(share).sum(dim=1).mean())
            self._sums["target_max"] = torch.maximum(self._sums.get("target_max", largest[0]), largest.max())

    def seen(self) -> dict[str, Any]:
        """What was seen, name -> number or text; empty before the first step. On a GPU it waits for the queue.

        images: in the training split, behind the data hooks. batch_size, image_pixels (height x width): means of what
        reached the net. steps: of the optimizer. optimizer: its class. lr_max, lr_mean: over the steps, of the group
        with the largest rate. momentum: at the start (Adam's beta1). weight_decay: the largest of a group. params:
        trained. target_top, target_entropy (nats): means over the images of a target's largest probability and of its
        entropy, as they reach the loss; target_max: the largest of all. pixel_change: the mean absolute change that
        batch hooks make to a pixel in [0, 1]. What is not finite is left out.
        """
        if not self._steps:
            return {}
        sums = {name: float(value) for name, value in self._sums.items()}
        facets: dict[str, Any] = {
            "images": self._images,
            "batch_size": self._rows / self._steps,
            "image_pixels": self._area / self._steps,
            "steps": self._steps,
            **self._fixed,
            "lr_max": self._lr_max,
            "lr_mean": self._lr_sum / self._steps,
            "precision": str(self._precision.dtype).removeprefix("torch."),
            "device": self._precision.device.type,
        }
        over = {"target_top": self._steps, "target_entropy": self._steps, "target_max": 1, "pixel_change": self._looks}
        facets |= {name: total / over[name] for name, total in sums.items()}
        return {
            name: round(value, 9) if isinstance(value, float) else value
            for name, value in facets.items()
            if not isinstance(value, float) or math.isfinite(value)
        }

    def _add(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums[name] + value if name in self._sums else value


def effective(trained: Mapping[str, Any], epochs: float, teachers: Mapping[str, float]) -> dict[str, Any]:
    """What a training was `seen` to do, with the epochs in all, fine-tuning included, and those of its teachers."""
    return {**trained, "epochs": epochs, "teacher_epochs": float(sum(teachers.values()))} if trained else {}
