"""The study: data, net, training budget, tricks and what is searched of them, objectives. One YAML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from tricksearch.contract import Json, nearest
from tricksearch.search.uses import TrickReader, TrickUse
from tricksearch.trial.bounds import Constraint
from tricksearch.trial.document import (
    Document,
    check_names,
    plugin_registry,
    prepared,
    problem,
    read_yaml,
    shown,
    validate,
)
from tricksearch.trial.recipe import Recipe
from tricksearch.trial.record import MEASURES
from tricksearch.trial.settings import DataSettings, LatencySettings, NetSettings, Settings, TrainSettings

FREE = ("name", "cache", "variants", "versions", "hardware", "left_out")  # they change no result
NOTES = ("versions", "hardware", "left_out")  # what a resolved study tells of the run that wrote it


class SearchSettings(Settings):
    """How much is searched, and by what."""

    trials: int = Field(40, ge=1, le=1_000_000, description="trials in all, the baseline among them")
    workers: int | None = Field(None, ge=1, le=4096, description="trials at a time; null: what the machine holds")
    sampler: Literal["auto", "tpe", "nsga2", "nsga3", "gp", "random", "qmc", "grid", "local"] = "auto"
    startup: int = Field(12, ge=0, description="recipes drawn at random before the sampler learns from records")
    seed: int = Field(0, ge=0, lt=2**32)
    first: tuple[dict[str, dict[str, Any]], ...] = Field((), description="recipes' tricks to try before all others")


def _folder_name(name: str) -> str:
    bad = sorted({letter for letter in name if letter in '/\\:*?"<>|' or not letter.isprintable()})
    if not name or len(name.encode()) > 100 or name[0] in ".-~ " or name[-1] in ". " or bad:
        raise problem(
            f"a study's name must be usable as the name of a folder, got {shown(name)}",
            "use letters, digits, '_' and '-', at most 100",
        )
    return name


def _measures(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in MEASURES:
            raise problem(f"there is no metric '{name}'", nearest(name, MEASURES))
    if len(set(names)) != len(names) or len(names) < 2:
        raise problem(
            f"two or more different objectives are needed, got {', '.join(names) or 'none'}",
            f"choose from {', '.join(MEASURES)}",
        )
    return names


def _constraints(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            Constraint.parse(text)
        except ValueError as error:
            raise problem(
                str(error), "write 'latency_ms <= 8', 'latency_ms <= 0.9 * baseline' or 'accuracy >= baseline - 0.5'"
            ) from None
        except KeyError as error:
            raise problem(f"there is no metric '{error.args[0]}'", nearest(error.args[0], MEASURES)) from None
    return texts


class Study(Settings):
    """A study with everything written out. Its JSON, written as YAML, is itself a study file."""

    name: Annotated[str, AfterValidator(_folder_name)]
    data: DataSettings = DataSettings()
    net: NetSettings = NetSettings()
    train: TrainSettings = TrainSettings()
    latency: LatencySettings = LatencySettings()
    plugins: tuple[str, ...] = ()
    tricks: dict[str, TrickUse] = Field(default_factory=dict)
    objectives: Annotated[tuple[str, ...], AfterValidator(_measures)] = ("accuracy", "latency_ms")
    constraints: Annotated[tuple[str, ...], AfterValidator(_constraints)] = ()
    variants: Literal["all", "search", "none"] = Field(
        "search", description="what else is made of a trained net and measured"
    )
    cache: str | None = Field(None, description="the folder of stages that are known; null: in the run folder")
    search: SearchSettings = SearchSettings()
    left_out: dict[str, str] = Field(default_factory=dict)  # tricks that this machine cannot run, and why

    def recipe(self, tricks: Mapping[str, Mapping[str, Json]]) -> Recipe:
        """The recipe with these tricks on this study's base settings."""
        return Recipe(
            data=self.data,
            net=self.net,
            train=self.train,
            latency=self.latency,
            plugins=self.plugins,
            tricks={name: dict(values) for name, values in tricks.items()},
        )

    def base_recipe(self) -> Recipe:
        """The plain baseline. It has no trick at all, not even those that the study forces."""
        return self.recipe({})

    def difference(self, other: Mapping[str, Any]) -> str | None:
        """The first difference that makes another study's JSON incomparable with this one, or None."""
        here = _comparable(self.model_dump(mode="json"))
        return next(_differences(_comparable(other), here, ()), None)


def _comparable(study: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in study.items() if key not in FREE}
    if isinstance(kept.get("search"), Mapping):
        kept["search"] = {key: value for key, value in kept["search"].items() if key not in ("trials", "workers")}
    return kept


def _differences(there: Any, here: Any, key: tuple[str, ...]) -> Iterator[str]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in (*here, *(each for each in there if each not in here)):
            inner = (*key, str(name))
            if name not in there or name not in here:
                where = "here" if name in here else "there"
                yield f"{'.'.join(inner)} stands only {where}"
            else:
                yield from _differences(there[name], here[name], inner)
    elif there != here:
        yield f"{'.'.join(key)} is {shown(there)} there and {shown(here)} here"


def load_study(path: Path) -> Study:
    """Read a study file and check everything that can be known before a trial runs.

    Imports the plugins. Paths in the file are relative to it, but for `data.root`, which is relative to the
    current directory. Raises InputError with the file, the line, the key and the remedy.
    """
    document = prepared(read_yaml(path))
    data = {key: value for key, value in document.data.items() if key not in NOTES}
    data.setdefault("name", path.stem)
    settings = {key: value for key, value in data.items() if key != "tricks"}
    study = validate(Document(path, settings, document.lines), Study)
    plugins, registry = plugin_registry(document, study.plugins)
    uses, left_out = TrickReader(document, registry, study.net).read()
    check_names(document, study.data.name, study.net)
    return study.model_copy(update={"plugins": plugins, "tricks": uses, "left_out": left_out})
