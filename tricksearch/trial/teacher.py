"""Teachers: nets that are trained once for a study, kept in a file, and shared by its trials."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tricksearch.contract import InputError, Registry, nearest, source_hash
from tricksearch.trial.hardware import versions
from tricksearch.trial.machine import Machine
from tricksearch.trial.nets import BUILT_IN
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.settings import NetSettings

if TYPE_CHECKING:
    from tricksearch.trial.bench import Bench

log = logging.getLogger(__name__)

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


def shared(
    recipe: Recipe, registry: Registry, bench: Callable[[Path], Bench], teachers: Path, machine: Machine
) -> nn.Module:
    """The teacher of this recipe, frozen: from its file, or trained and stored by whoever comes first."""
    file = teachers / f"{_key(recipe, registry)}.pt"
    teachers.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="teacher-", dir=teachers) as folder,
        _one_at_a_time(file, machine),
    ):
        own = bench(Path(folder))
        net = own.build_net()
        if not _load(net, file):
            net = own.train(own.build_net())  # anew: a file of another net may have overwritten a part of it
            _save(net, file)
    net = own.precision.place(net).eval()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return _Teacher(net, own)


class _Teacher(nn.Module):
    """Runs the teacher in the number format of the training."""

    def __init__(self, net: nn.Module, bench: Bench) -> None:
        super().__init__()
        self.net, self._precision = net, bench.precision

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with self._precision.autocast(), torch.no_grad():
            logits: torch.Tensor = self.net(self._precision.layout(images)).float()
        return logits


def _key(recipe: Recipe, registry: Registry) -> str:
    relevant = recipe.model_dump(mode="json", exclude={"latency", "plugins"}) | {
        "seed": SEED,
        "versions": versions(),
        "sources": {name: source_hash(registry[name]) for name in recipe.tricks if name in registry},
    }
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:16]


def _load(net: nn.Module, file: Path) -> bool:
    try:
        net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        return False
    except (PermissionError, MemoryError):
        raise
    except Exception:  # a damaged or foreign file, whatever torch makes of it: trained again and replaced
        log.warning("the teacher in %s cannot be read and is trained again", file, exc_info=True)
        return False
    return True


def _save(net: nn.Module, file: Path) -> None:
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    torch.save({name: tensor.cpu() for name, tensor in net.state_dict().items()}, temporary)
    os.replace(temporary, file)


@contextlib.contextmanager
def _one_at_a_time(file: Path, machine: Machine) -> Iterator[None]:
    with open(file.with_suffix(".lock"), "w") as lock:
        with machine.idle():  # a stopwatch need not wait for a trial that waits for its teacher
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
