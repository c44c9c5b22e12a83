"""The trick: a frozen dataclass whose fields are its hyperparameters and whose methods are its hooks."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tricksearch.contract.domains import Domain, DomainError, Json
from tricksearch.contract.errors import InputError, nearest

if TYPE_CHECKING:
    from torch import nn

    from tricksearch.contract.hook_types import (
        BatchTransform,
        BuildOptimizer,
        Deployable,
        Images,
        Loss,
        Runtime,
        Schedule,
        Weights,
    )
    from tricksearch.contract.workbench import Workbench

STAGE_OF_HOOK: Mapping[str, str] = {
    "data": "train",
    "model": "train",
    "optimizer": "train",
    "schedule": "train",
    "batch": "train",
    "loss": "train",
    "weights": "train",
    "compress": "compress",
    "deploy": "deploy",
    "runtime": "measure",
}


class Trick:
    """One technique. Subclass it in a file of its own, as `@dataclass(frozen=True)`; the file's stem is its name.

    Every field is a hyperparameter: `Annotated[type, domain] = value its paper recommends`. Each hook takes a thing
    and returns a thing, by default the same; the engine calls those that are overridden, in the order of the tags.
    """

    claims: ClassVar[str] = ""  # a tag that one trick of a recipe may hold, such as "schedule"
    after: ClassVar[tuple[str, ...]] = ()  # tags whose holders act before this trick
    # Whether `variants: search` puts it on and off on every net that was trained; matters behind the compression alone.
    branches: ClassVar[bool] = True  # False: it costs too much for that, or seldom pays

    def data(self, images: Images, bench: Workbench) -> Images:
        """Change the training split before training: oversample, filter. Those given are shared: return others."""
        return images

    def model(self, net: nn.Module, bench: Workbench) -> nn.Module:
        """Change the net before training: input (N, C, H, W), normalised; output logits (N, K)."""
        return net

    def optimizer(self, build: BuildOptimizer, bench: Workbench) -> BuildOptimizer:
        """Replace or wrap what builds the optimizer for a net."""
        return build

    def schedule(self, schedule: Schedule, bench: Workbench) -> Schedule:
        """Replace or wrap the schedule of the learning rate."""
        return schedule

    def batch(self, transform: BatchTransform, bench: Workbench) -> BatchTransform:
        """Replace or wrap what is done to each training batch."""
        return transform

    def loss(self, loss: Loss, bench: Workbench) -> Loss:
        """Replace or wrap the training loss."""
        return loss

    def weights(self, weights: Weights, bench: Workbench) -> Weights:
        """Replace or wrap what becomes of the weights after each step and at the end."""
        return weights

    def compress(self, net: nn.Module, bench: Workbench) -> nn.Module:
        """Change the trained net: prune, factorise, train with quantization in mind."""
        return net

    def deploy(self, deployable: Deployable, bench: Workbench) -> Deployable:
        """Change the exported file: quantize it, convert its precision, write it for another runtime."""
        return deployable

    def runtime(self, runtime: Runtime, bench: Workbench) -> Runtime:
        """Replace what runs the deployable."""
        return runtime

    def foreseeable(self) -> bool:
        """Whether the shape of what its hooks make of a net is known before the net is trained.

        Where it is, `compress` and `deploy` of an untrained net give a graph with the latency and the size of the
        trained one.
        """
        return True

    @classmethod
    def unavailable(cls) -> str | None:
        """Why this machine cannot run the trick (a missing package or device), or None."""
        return None


def trick_name(trick: type[Trick]) -> str:
    """The trick's name: the stem of its file."""
    return trick.__module__.rpartition(".")[2]


def domains(trick: type[Trick]) -> dict[str, Domain]:
    """Each hyperparameter of a trick with its domain. Raises TypeError for a field that has none."""
    hints = typing.get_type_hints(trick, include_extras=True)
    by_field: dict[str, Domain] = {}
    for field in dataclasses.fields(trick):  # type: ignore[arg-type]  # discovery proves that it is a dataclass
        marks = [mark for mark in getattr(hints[field.name], "__metadata__", ()) if isinstance(mark, Domain)]
        if len(marks) != 1:
            raise TypeError(f"field '{field.name}' needs exactly one domain, as in Annotated[float, Float(0.0, 1.0)]")
        by_field[field.name] = marks[0]
    return by_field


def defaults(trick: type[Trick]) -> dict[str, Json]:
    """Each hyperparameter with the value that its paper recommends."""
    return {field.name: field.default for field in dataclasses.fields(trick)}  # type: ignore[arg-type]


def hooks(trick: type[Trick]) -> tuple[str, ...]:
    """The hooks that the trick overrides, in the order in which a trial calls them."""
    return tuple(name for name in STAGE_OF_HOOK if getattr(trick, name) is not getattr(Trick, name))


def stages(trick: type[Trick]) -> tuple[str, ...]:
    """The stages whose result the trick can change, derived from the hooks that it overrides."""
    return tuple(dict.fromkeys(STAGE_OF_HOOK[name] for name in hooks(trick)))


def inner_tricks(values: Mapping[str, Json]) -> set[str]:
    """The names of the tricks inside a trick's values: those of a recipe, as a teacher's is, and of recipes in it.

    >>> inner = {"distil": {"teacher": {"tricks": {"mine": {}}}}}
    >>> sorted(inner_tricks({"teacher": {"net": "resnet18", "tricks": inner}, "epochs": 2}))
    ['distil', 'mine']
    """
    names: set[str] = set()
    for recipe in values.values():
        tricks = recipe.get("tricks") if isinstance(recipe, Mapping) else None
        for name, inner in (tricks if isinstance(tricks, Mapping) else {}).items():
            names.add(name)
            names |= inner_tricks(inner) if isinstance(inner, Mapping) else set()
    return names


def build(trick: type[Trick], values: Mapping[str, Json], place: str = "") -> Trick:
    """The trick with these hyperparameters; the ones left out keep their defaults.

    Raises InputError, naming `place`, for an unknown field or a value outside its domain.
    """
    known = domains(trick)
    checked: dict[str, Any] = {}
    for field, value in values.items():
        where = f"{place}.{field}" if place else f"{trick_name(trick)}.{field}"
        if field not in known:
            raise InputError(
                f"'{field}' is not a hyperparameter of this trick", place=where, remedy=nearest(field, known)
            )
        try:
            checked[field] = known[field].check(value)
        except DomainError as error:
            raise InputError(str(error), place=where) from None
    return trick(**checked)


def in_order(tricks: Iterable[Trick]) -> list[Trick]:
    """The tricks of one recipe, each after those whose tag it names, otherwise by name.

    Raises InputError where two hold one tag or the tags name a circle.
    """
    waiting = sorted(tricks, key=lambda trick: trick_name(type(trick)))
    holder: dict[str, str] = {}
    for trick in waiting:
        name = trick_name(type(trick))
        if trick.claims and trick.claims in holder:
            raise InputError(
                f"'{holder[trick.claims]}' and '{name}' both claim '{trick.claims}', and only one of a recipe may",
                remedy="keep one of them",
            )
        if trick.claims:
            holder[trick.claims] = name
    placed: list[Trick] = []
    while waiting:
        held = {trick.claims for trick in waiting if trick.claims}
        ready = [t for t in waiting if not (set(t.after) - {t.claims}) & held]
        if not ready:
            names = ", ".join(trick_name(type(trick)) for trick in waiting)
            raise InputError(f"the tags of {names} order them in a circle", remedy="change 'after' in one of them")
        placed.append(ready[0])
        waiting.remove(ready[0])
    return placed
