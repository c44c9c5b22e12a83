"""The facts of a store: what it holds beside records and reports, each under one name and of one type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Fact(Generic[T]):
    """The name of a fact; its value is JSON of the type T."""

    name: str


SCHEMA_NUMBER: Fact[int] = Fact("schema")  # of the store's tables
STUDY: Fact[dict[str, Any]] = Fact("study")  # as of its last run, with every default written out
SOURCES: Fact[dict[str, str]] = Fact("sources")  # of every trick that a record may have, by name: see `source_hash`
CODE_CHANGES: Fact[list[dict[str, Any]]] = Fact("code_changes")  # see changed_code.CodeChange
DATA: Fact[dict[str, Any]] = Fact("data")  # what the records were measured on; see trial/data/fingerprint.py
HISTORY: Fact[list[dict[str, Any]]] = Fact("studies")  # when the study changed, and how
HOLDER: Fact[str] = Fact("holder")  # of a store in a database: the process that holds it
BATCH: Fact[int] = Fact("batch")  # trials that a reproducible search asks for together
SECONDS: Fact[float] = Fact("seconds")  # that the search has run, over all starts
LOST: Fact[dict[str, float]] = Fact("lost")  # epochs and GPU-hours of attempts of which no record tells
SCREENS: Fact[dict[str, list[Any]]] = Fact("screens")  # of each layout, which blocks were laid out for which tricks
ABLATION: Fact[dict[str, Any] | None] = Fact("ablation")  # what is ablated
FRONT_TIMING: Fact[dict[str, Any]] = Fact("front_timing")  # see trial/front_timing.py: the latencies of each graph
CONFIRMATION: Fact[dict[str, Any]] = Fact("confirmation")  # the recipes that are confirmed
