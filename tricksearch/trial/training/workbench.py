"""The workbench of one trial: what its tricks may ask for, and the plan of its training."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tricksearch.contract import (
    Batch,
    BatchTransform,
    Images,
    Loss,
    Registry,
    Schedule,
    TrialError,
    Trick,
    Weights,
    trick_name,
)
from tricksearch.records.recipe import Recipe
from tricksearch.trial.data import DataSet
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.rungs import Rungs
from tricksearch.trial.training.augment import augmentation
from tricksearch.trial.training.nets import Normalize, build_net
from tricksearch.trial.training.precision import Precision, choose_precision
from tricksearch.trial.training.rung_accuracy import accuracy_now
from tricksearch.trial.training.teacher import recipe_of
from tricksearch.trial.training.train import (
    LastWeights,
    Plan,
    cross_entropy,
    plain_optimizer,
    plain_schedule,
    to_unit,
    to_zero,
    train,
)
from tricksearch.trial.training.watch import Watch


class Bench:
    """Implements `tricksearch.Workbench` over one recipe, one seed, and one data set.

    `teach` gives the teacher of a recipe, `net` the net that was exported: both are stages of a trial.
    """

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        registry: Registry,
        data: DataSet,
        machine: Machine,
        folder: Path,
        *,
        teach: Callable[[Recipe], nn.Module],
        net: Callable[[], nn.Module],
    ) -> None:
        self.recipe, self.seed, self.folder = recipe, seed, folder
        self._limit_threads()  # before the first hook, and with it for all stages that run in this process
        self.num_classes = data.train.num_classes
        channels, height, width = data.train.pixels.shape[1:]
        self.input_shape = (int(channels), int(height), int(width))
        self.precision: Precision = choose_precision(recipe.train)
        self.device = self.precision.device
        self.epochs = recipe.train.epochs
        self.tricks: list[Trick] = recipe.build_tricks(registry)
        self.machine = machine
        self.teacher_seconds = 0.0  # spent on getting teachers, which the study pays once
        self.looked_seconds = 0.0  # spent on evaluations in the midst of a training
        self._steps = 0  # optimizer steps that were taken here
        self.fine_tuned = 0.0  # epochs of fine-tuning that came to their end
        self.teachers: dict[str, float] = {}  # those that were asked for: recipe -> epochs
        self._data, self._teach, self._net = data, teach, net
        self._images = data.train_on(self.device)
        for trick in self.tricks:
            self._images = self._data_of(trick)
        self.watch = Watch(self._images, self.steps_per_epoch, self.precision)  # of the training, not of fine-tuning

    def _data_of(self, trick: Trick) -> Images:
        """The images as a trick has them. Raises TrialError where it wrote into those that it was given."""
        shared = self._data.train_on(self.device)
        before = shared.pixels._version, shared.labels._version
        images = trick.data(self._images, self)
        if (shared.pixels._version, shared.labels._version) != before:
            self._data.was_changed()
            raise TrialError(
                f"the trick '{trick_name(type(trick))}' wrote into the images that all trials share: its data() has to "
                "return others, such as images.pixels.clone(); start the run again, which goes on"
            )
        return images

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return max(1, len(self._images) // self.recipe.train.batch_size)

    @property
    def epochs_trained(self) -> float:
        """Epochs that were trained here, fine-tuning and what was broken off included."""
        return self._steps / self.steps_per_epoch

    def generator(self, name: str) -> torch.Generator:
        """A random generator on the device, seeded by the trial's seed and `name`."""
        return torch.Generator(self.device).manual_seed(self.stream(name))

    def stream(self, name: str) -> int:
        """A seed of its own for each name, so that what one trick draws never shifts what another draws."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}:{name}".encode()).digest()[:6], "big")

    def train_images(self) -> Images:
        """The training split, on the device, as the data hooks left it."""
        return self._images

    def calibration_images(self, count: int) -> np.ndarray[Any, Any]:
        """`count` training images: float32 (count, C, H, W) in [0, 1]; all of them where there are fewer."""
        order = np.random.default_rng(self.stream("calibration")).permutation(len(self._images))[:count]
        pixels = self._images.pixels[torch.from_numpy(order).to(self._images.pixels.device)]
        images: np.ndarray[Any, Any] = to_unit(pixels.cpu()).numpy()
        return images

    def net(self) -> nn.Module:
        """The trained and compressed net that was exported: a copy, float32, on the CPU, in evaluation mode."""
        return self._net()

    def build_net(self) -> nn.Module:
        """The untrained net behind its normalisation, as the model hooks left it."""
        torch.manual_seed(self.stream("net"))
        net = build_net(self.recipe.net, self.num_classes, self.input_shape)
        for trick in self.tricks:
            net = trick.model(net, self)
        return nn.Sequential(Normalize(*self._data.channel_stats()), net)

    def train(self, net: nn.Module, rungs: Rungs | None = None) -> nn.Module:
        """The recipe's training. A rung may end it, and changes nothing else of it."""
        return self._run(net, self.epochs, "train", rungs=rungs, watch=self.watch)

    def fine_tune(self, net: nn.Module, epochs: int, lr: float) -> nn.Module:
        """Train on with the recipe's own batches and loss, from `lr` x the study's rate down to 0."""
        tuned = self._run(net, epochs, "fine_tune", functools.partial(to_zero, lr=lr))
        self.fine_tuned += epochs
        return tuned

    def teacher(self, spec: str | dict[str, Any], epochs: float) -> nn.Module:
        """A frozen net: images -> logits, trained once for the study and shared by its trials."""
        start, waited = time.perf_counter(), self.machine.waited
        recipe = recipe_of(spec, epochs, self.recipe)
        try:
            net = self._teach(recipe)
        finally:
            self._limit_threads()  # again: the workbench of a teacher has set its own
        self.teachers[recipe.key] = float(recipe.train.epochs)
        self.teacher_seconds += time.perf_counter() - start - (self.machine.waited - waited)
        return net

    def _run(
        self,
        net: nn.Module,
        epochs: int,
        name: str,
        schedule: Schedule | None = None,
        rungs: Rungs | None = None,
        watch: Watch | None = None,
    ) -> nn.Module:
        optimizer, transform, weights = plain_optimizer(self.recipe.train), self._transform(name), self._weights()
        transform = transform if watch is None else watch.augmentation(transform)
        for trick in self.tricks:
            optimizer = trick.optimizer(optimizer, self)
        schedule = schedule or self._schedule()
        for trick in self.tricks:
            transform = trick.batch(transform, self)
        transform = transform if watch is None else watch.whole(transform)
        loss = self._loss
        for trick in self.tricks:
            weights = trick.weights(weights, self)
        plan = Plan(
            images=self._images,
            epochs=epochs,
            batch_size=self.recipe.train.batch_size,
            schedule=schedule,
            transform=transform,
            loss=loss,
            optimizer=optimizer,
            weights=weights,
            precision=self.precision,
            shuffle=self.generator(f"{name}.shuffle"),
            step_aside=self._between_batches,
            after_epoch=None if rungs is None else functools.partial(self._look, rungs, weights),
            watch=watch,
        )
        # For dropout and the like, which draw from the global generator; behind the hooks, so that nothing that
        # they draw, nor a teacher that is trained in one trial and read in the next, can shift it.
        torch.manual_seed(self.stream(name))
        return train(net, plan)

    def _limit_threads(self) -> None:
        """Have torch compute with the threads of the recipe, whose number can change the last bits of a sum."""
        torch.set_num_threads(self.recipe.train.threads)

    def _between_batches(self) -> None:
        self.machine.step_aside()
        self._steps += 1

    def _look(self, rungs: Rungs, weights: Weights, epoch: int, net: nn.Module) -> None:
        if epoch not in rungs.epochs:
            return
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # what is still queued belongs to the training
        start, waited = time.perf_counter(), self.machine.waited
        accuracy = accuracy_now(
            net,
            weights,
            self._data.validation,
            self.precision,
            batch=self.recipe.train.batch_size,
            step_aside=self.machine.step_aside,
            shared=(self, self._data, self._images, self.machine),
        )
        self.looked_seconds += time.perf_counter() - start - (self.machine.waited - waited)
        rungs.tell(epoch, accuracy)

    def _schedule(self) -> Schedule:
        schedule = plain_schedule(self.recipe.train)
        for trick in self.tricks:
            schedule = trick.schedule(schedule, self)
        return schedule

    @functools.cached_property
    def _loss(self) -> Loss:
        # Once for training and fine-tuning: a loss may hold a teacher.
        loss: Loss = self.watch.loss(cross_entropy)
        for trick in self.tricks:
            wrapped = trick.loss(loss, self)
            loss = loss if wrapped is loss else self.watch.loss(wrapped)
        return loss

    def _weights(self) -> Weights:
        return LastWeights()

    def _transform(self, name: str) -> BatchTransform:
        asked = self.recipe.train.augment
        kind = self._data.augment if asked == "auto" else asked
        _, height, width = self.input_shape
        augment: Callable[[torch.Tensor], torch.Tensor] = augmentation(
            kind, (height, width), self.generator(f"{name}.augment")
        )
        return lambda batch: Batch(augment(batch.images), batch.targets)
