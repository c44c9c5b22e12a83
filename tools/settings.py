"""The keys of studies and recipes, from their pydantic models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tools.markdown import code, table
from tricksearch.records.settings import DataSettings, LatencySettings, NetSettings, TrainSettings
from tricksearch.study.recipe_file import _RecipeFile
from tricksearch.study.settings import (
    AblateSettings,
    ConfirmSettings,
    ScreenSettings,
    SearchSettings,
    StoppingSettings,
    VerdictSettings,
)
from tricksearch.study.study import NOTES, Study
from tricksearch.trial.simulated import SimulatedMeasure, SimulationSettings

# Heading, model and what a reader should know beside its keys; in the order of the page.
SECTIONS: tuple[tuple[str, type[BaseModel], str], ...] = (
    ("data", DataSettings, "`data: digits` is short for `data: {name: digits}`."),
    ("net", NetSettings, "`net: resnet18` is short for `net: {name: resnet18}`. Weights are random at the start."),
    ("train", TrainSettings, ""),
    ("latency", LatencySettings, ""),
    ("search", SearchSettings, ""),
    ("search.stopping", StoppingSettings, "`stopping: nondominated` is short for `stopping: {rule: nondominated}`."),
    ("screen", ScreenSettings, ""),
    ("ablate", AblateSettings, ""),
    ("confirm", ConfirmSettings, ""),
    ("verdicts", VerdictSettings, ""),
    ("simulation", SimulationSettings, "Only beside `trial: simulated`."),
    ("simulation.measures.NAME", SimulatedMeasure, "NAME is a measure."),
)
LEFT_OUT = ("left_out", *NOTES)  # what a resolved study tells of its run; a study file need not have it
SHORT = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text", "null": "null"}
LEAST = (("minimum", "from"), ("exclusiveMinimum", "above"))
MOST = (("maximum", "to"), ("exclusiveMaximum", "below"))
DEFAULTS_ELSEWHERE = {("search", "stopping"): "`none`", ("", "name"): "the file's name"}


def study_keys() -> str:
    """One section for the top level of a study, and one for each of its parts."""
    parts = [f"### Top level\n\n{_keys(Study, '')}"]
    for name, model, more in SECTIONS:
        about = " ".join(text for text in (_first_sentence(model), more) if text)
        parts.append(f"### {name}\n\n{about}\n\n{_keys(model, name)}")
    return "\n\n".join(parts)


def recipe_keys() -> str:
    """The keys of a recipe's file."""
    return _keys(_RecipeFile, "recipe")


def _keys(model: type[BaseModel], section: str) -> str:
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    rows = []
    for name, prop in schema["properties"].items():
        if model is Study and name in LEFT_OUT:
            continue
        about = prop.get("description") or _described(section, name)
        default = DEFAULTS_ELSEWHERE.get((section, name)) or _default(prop, name in schema.get("required", ()))
        rows.append((f"`{name}`", _kind(prop, definitions, f"{section}.{name}".strip(".")), default, about))
    return table(("key", "values", "default", "what it is"), rows)


def _described(section: str, name: str) -> str:
    """What a key is that is a part of its own, or belongs to a recipe."""
    known = {section: model for section, model, _ in SECTIONS}
    if name in known:
        return _first_sentence(known[name]).rstrip(".")
    own = {
        ("recipe", "plugins"): "folders of your own tricks, relative to this file",
        (
            "recipe",
            "tricks",
        ): "each trick that is on, with its hyperparameters; those left out have the trick's default",
        ("recipe", "seed"): "of the one trial",
    }
    return own[section, name]


def _default(prop: Mapping[str, Any], required: bool) -> str:
    if "default" in prop and not isinstance(prop["default"], Mapping):
        return code(prop["default"])
    return "required" if required else "`{}`" if prop.get("type") == "object" else "as below"


def _kind(prop: Mapping[str, Any], definitions: Mapping[str, Any], key: str) -> str:
    if "anyOf" in prop:
        return ", or ".join(_kind(kind, definitions, key) for kind in prop["anyOf"])
    if "const" in prop:
        return code(prop["const"])
    if "enum" in prop:
        return ", ".join(code(option) for option in prop["enum"])
    if "$ref" in prop or "allOf" in prop:
        return f"keys of [{key}](#{key.replace('.', '').lower()})" if key in {name for name, *_ in SECTIONS} else "keys"
    kind = prop.get("type", "any")
    if kind == "array":
        inner = _kind(prop.get("items", {}), definitions, key)
        least, most = prop.get("minItems"), prop.get("maxItems")
        count = f" of {least} to {most}" if least and most else f" of at least {least}" if least else ""
        return f"list{count}: {inner}" if inner != "any" else "list"
    if kind == "object":
        return "mapping"
    return " ".join([SHORT.get(kind, kind), *_bounds(prop)])


def _bounds(prop: Mapping[str, Any]) -> list[str]:
    bounds = [f"{word} {prop[name]:,}" for name, word in (*LEAST, *MOST) if name in prop]
    if len(bounds) == 1:
        return [bounds[0].replace("from ", "of at least ").replace("to ", "of at most ")]
    return (
        [
            bounds[0],
            bounds[1] if bounds[1].startswith("to") and bounds[0].startswith("from") else f"and {_end(bounds[1])}",
        ]
        if bounds
        else []
    )


def _end(bound: str) -> str:
    return bound.replace("to ", "at most ")


def _first_sentence(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n")[0]
