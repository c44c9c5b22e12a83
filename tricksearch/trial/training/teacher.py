"""Teachers: nets that are trained once, by a recipe of their own, and shared by all trials that learn from them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tricksearch.contract import InputError, nearest
from tricksearch.records.recipe import Recipe
from tricksearch.records.settings import NetSettings
from tricksearch.trial.training.nets import BUILT_IN
from tricksearch.trial.training.precision import Precision

KEYS = ("net", "train", "tricks")
SEED = 0  # one teacher for the study, whatever the seeds of its trials


def recipe_of(spec: str | dict[str, Any], epochs: float, student: Recipe) -> Recipe:
    """The teacher's recipe: the student's data and training, and its net and no trick unless `spec` names others.

    Raises InputError for another key than a teacher's, pydantic's ValidationError for what cannot stand below it.
    """
    base = student.model_dump(mode="json") | {"tricks": {}}
    if isinstance(spec, dict):
        for key in sorted(set(spec) - set(KEYS)):
            raise InputError(f"a teacher's recipe has no key '{key}'", remedy=nearest(key, KEYS))
        base["net"] = _net(spec["net"]) if "net" in spec else base["net"]
        base["train"] = base["train"] | spec.get("train", {})
        base["tricks"] = spec.get("tricks", {})
    elif spec:
        # A timm net named alone keeps the study's stem, which was chosen for the size of its images.
        base["net"] = {"name": spec} | ({} if spec == BUILT_IN else {"stem": base["net"]["stem"]})
    base["train"]["epochs"] = max(1, round(base["train"]["epochs"] * epochs))
    return Recipe.model_validate(base)


def _net(given: str | dict[str, Any]) -> dict[str, Any]:
    return NetSettings.model_validate({"name": given} if isinstance(given, str) else given).model_dump(mode="json")


def taught(recipe: Recipe, train: Callable[[Recipe, int], tuple[nn.Module, Precision]]) -> nn.Module:
    """The teacher of this recipe: frozen. `train` gives the trained net of a recipe and seed, and how it computes."""
    return frozen(*train(recipe, SEED))


def frozen(net: nn.Module, precision: Precision) -> nn.Module:
    """A copy of the trained net as a teacher: images (N, C, H, W) -> logits (N, K), in evaluation mode, never trained.

    It is a copy because others may use the net as it is.
    """
    net = precision.place(copy.deepcopy(net)).eval()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return _Teacher(net, precision)


class _Teacher(nn.Module):
    """Runs the teacher in the number format of the training."""

    def __init__(self, net: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.net, self._precision = net, precision

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with self._precision.autocast(), torch.no_grad():
            logits: torch.Tensor = self.net(self._precision.layout(images)).float()
        return logits
