"""Confounders: what else differs between a training with a trick and one without it.

A trick is expected to change what its hooks are for. One that mixes images through `batch` and so softens the targets,
or one that fine-tunes through `compress` and so trains for longer, may owe its effect to that: the report says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any


@dataclass(frozen=True)
class Facet:
    """A number or a text that says what a training did, and by how much it may differ and still count as equal."""

    title: str
    unit: str = ""
    hooks: tuple[str, ...] = ()  # whose tricks are expected to change it
    within: float = 0.0  # two numbers count as equal where they differ by no more than this,
    share: float = 1e-3  # or by no more than this share of the larger one
    follows: tuple[str, ...] = ()  # not reported by itself where one of these differs, which is what it follows from


# The means over drawn mixes and augmentations differ from seed to seed, so they have wider limits than settings have.
FACETS: Mapping[str, Facet] = {
    "images": Facet("the number of training images", hooks=("data",)),
    "batch_size": Facet("the batch size", "images", within=0.5),
    "image_pixels": Facet("the size of the training images", "pixels"),
    "epochs": Facet("the epochs that are trained, fine-tuning included", "epochs"),
    "teacher_epochs": Facet("the epochs that a teacher is trained for", "epochs"),
    "steps": Facet("the number of optimizer steps", follows=("images", "batch_size", "epochs")),
    "optimizer": Facet("the optimizer", hooks=("optimizer",)),
    "lr_max": Facet("the largest learning rate", hooks=("optimizer", "schedule")),
    "lr_mean": Facet("the mean learning rate", hooks=("optimizer", "schedule"), share=0.02, follows=("lr_max",)),
    "momentum": Facet("the momentum at the start", hooks=("optimizer", "schedule")),
    "weight_decay": Facet("the weight decay", hooks=("optimizer",)),
    "target_entropy": Facet("the entropy of the targets", "nats", ("loss",), within=0.02, share=0.2),
    "target_top": Facet(
        "the mean largest probability of a target", "", ("loss",), within=0.01, share=0.05, follows=("target_entropy",)
    ),
    "target_max": Facet(
        "the largest probability of a target", "", ("loss",), within=0.01, follows=("target_entropy", "target_top")
    ),
    "pixel_change": Facet("the pixels of the training batches", "of [0, 1]", ("batch",), within=0.005, share=0.25),
    "params": Facet("the number of trained parameters", hooks=("model",)),
    "precision": Facet("the number format of the training"),
    "device": Facet("the device of the training"),
}


def confounders(arm: Mapping[str, Any], reference: Mapping[str, Any], hooks: Sequence[str], name: str) -> list[str]:
    """A sentence for each facet that differs between two effective recipes and that none of the hooks accounts for.

    `arm` is a training with the trick `name`, `reference` one without it; `hooks` are those that the trick overrides.
    Only facets that both know are compared; one that this version does not know is compared as it stands.

    >>> confounders({"epochs": 12.0, "params": 90}, {"epochs": 10.0, "params": 80}, ["model", "compress"], "slim")
    ['slim also changes the epochs that are trained, fine-tuning included: 12 epochs instead of 10; its hooks (model, \
compress) do not account for that.']
    """
    names = [*FACETS, *sorted(set(arm) - set(FACETS))]
    common = [key for key in names if key in arm and key in reference]
    differ = {key for key in common if _differs(_facet(key), arm[key], reference[key])}
    if len(hooks) > 1:
        subject = f"its hooks ({', '.join(hooks)}) do not"
    else:
        subject = f"its hook ({hooks[0]}) does not" if hooks else "no hook of it does"
    sentences = []
    for key in common:
        facet = _facet(key)
        if key not in differ or set(facet.hooks) & set(hooks) or set(facet.follows) & differ:
            continue
        sentences.append(
            f"{name} also changes {facet.title}: {_text(arm[key])}{' ' * bool(facet.unit)}{facet.unit} instead of "
            f"{_text(reference[key])}; {subject} account for that."
        )
    return sentences


def effective_of_arm(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The effective recipe of an arm from those of its runs: the mean of each number, the commonest text.

    Runs that recorded nothing are left out, and so are facets that not all of the others recorded.

    >>> effective_of_arm([{"steps": 10, "optimizer": "SGD"}, {"steps": 12, "optimizer": "SGD"}, {}])
    {'steps': 11.0, 'optimizer': 'SGD'}
    """
    recorded = [run for run in runs if run]
    if not recorded:
        return {}
    effective: dict[str, Any] = {}
    for name in recorded[0]:
        if all(name in run for run in recorded):
            values = [run[name] for run in recorded]
            effective[name] = fmean(values) if all(map(_is_number, values)) else Counter(values).most_common(1)[0][0]
    return effective


def _facet(name: str) -> Facet:
    return FACETS.get(name, Facet(name.replace("_", " ")))


def _differs(facet: Facet, first: Any, second: Any) -> bool:
    if not (_is_number(first) and _is_number(second)):
        return bool(first != second)
    return bool(abs(first - second) > max(facet.within, facet.share * max(abs(first), abs(second))))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.3g}"
    return f"{value:,.0f}" if _is_number(value) else str(value)
