"""The workbench: what a hook may ask of the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tricksearch.contract.hook_types import Images

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn


class Workbench(Protocol):
    """What a hook may ask of the engine."""

    device: torch.device
    seed: int
    num_classes: int
    input_shape: tuple[int, int, int]  # channels, height, width
    epochs: int
    folder: Path  # the trial's own scratch folder, deleted when the trial ends

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""

    def generator(self, name: str) -> torch.Generator:
        """A random generator on the device, of its own stream: seeded by the trial's seed and `name`."""

    def train_images(self) -> Images:
        """The training split, on the device, as the data hooks left it."""

    def fine_tune(self, net: nn.Module, epochs: int, lr: float) -> nn.Module:
        """Train on with the recipe's own batches and loss, for `epochs`, from `lr` x the optimizer's rate down to 0."""

    def teacher(self, spec: str | dict[str, Any], epochs: float) -> nn.Module:
        """A frozen net in evaluation mode: images -> logits. Trained once for a study, then shared.

        `spec` names a net ("" is the study's own) or is a mapping with the keys of a recipe; `epochs` is the
        length of its training as a multiple of the study's.
        """

    def net(self) -> nn.Module:
        """For deploy hooks: the trained and compressed net that was exported; a copy, float32, CPU, evaluation mode."""

    def calibration_images(self, count: int) -> np.ndarray[Any, Any]:
        """`count` training images, not augmented: float32 (count, C, H, W) in [0, 1], the same ones every time."""
