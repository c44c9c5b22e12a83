"""The recipe: one concrete choice. Base settings and the tricks that are on, with every value written out."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import yaml
from pydantic import Field

from tricksearch.contract import InputError, Registry, Trick, build, in_order, nearest
from tricksearch.records.settings import DataSettings, LatencySettings, NetSettings, Settings, TrainSettings


class Recipe(Settings):
    """What a trial runs, but for the seed. Its JSON is all that crosses to a worker."""

    data: DataSettings = DataSettings()
    net: NetSettings = NetSettings()
    train: TrainSettings = TrainSettings()
    latency: LatencySettings = LatencySettings()
    plugins: tuple[str, ...] = ()
    tricks: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """A hash of everything in the recipe: two recipes with one key are the same recipe.

        Where the plugins lie is no part of it.
        """
        text = json.dumps(self.model_dump(mode="json", exclude={"plugins"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def build_tricks(self, registry: Registry) -> list[Trick]:
        """The tricks that are on, in the order in which they act. Raises InputError for an unknown one."""
        built = []
        for name, values in self.tricks.items():
            if name not in registry:
                raise InputError(f"there is no trick '{name}'", place="tricks", remedy=nearest(name, registry))
            built.append(build(registry[name], values, place=f"tricks.{name}"))
        return in_order(built)

    def to_yaml(self, heading: str = "") -> str:
        """The recipe as a file that `tricksearch trial` runs."""
        lines = "".join(f"# {line}\n" for line in heading.splitlines())
        return lines + yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
