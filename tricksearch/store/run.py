"""A run folder that is opened to be read: its study, its records, its cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import yaml

from tricksearch.contract.errors import InputError
from tricksearch.records.files import replace_file
from tricksearch.records.hardware import hardware, versions
from tricksearch.records.record import Record
from tricksearch.store.facts import SOURCES, STUDY
from tricksearch.store.folder import read_store
from tricksearch.store.store import Store
from tricksearch.study.study import Study


class StoredRun:
    """What a run folder holds, until it is closed; a context manager that closes itself."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store

    @classmethod
    def open(cls, folder: Path, url: str | None = None, *, read_only: bool = False) -> Self:
        """Open a run folder. Raises InputError where it is none, or its store cannot be reached or read.

        `url` is that of a store in a database, with the password that the folder does not hold. A store that is
        `read_only` refuses every write.
        """
        return cls(folder, read_store(folder, url, read_only=read_only))

    @property
    def study(self) -> Study:
        """The study as its last run had it. Raises InputError where the store holds none."""
        plain = self.store.fact(STUDY)
        if plain is None:
            raise InputError("the store holds no study", place=str(self.folder), remedy="name the folder of a run")
        return Study.model_validate(_of_today(plain))

    def records(self) -> list[Record]:
        """Every record, by the numbers of trial and variant."""
        return self.store.records()

    @property
    def sources(self) -> dict[str, str]:
        """The hash of the code of every trick that a record may have, by the trick's name."""
        return self.store.fact(SOURCES) or {}

    @property
    def cache_folder(self) -> Path:
        """Where the stages of its trials are kept."""
        return cache_folder(self.study, self.folder)

    def close(self) -> None:
        """Give back the store's connections."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def cache_folder(study: Study, folder: Path) -> Path:
    """Where the study's stages are kept: the folder that it names, or one in the run folder."""
    return Path(study.cache).expanduser().resolve() if study.cache else (folder / "cache").resolve()


def write_resolved(folder: Path, study: Study) -> None:
    """Write study.resolved.yaml: the study with every default written out, and what it ran on."""
    plain: dict[str, Any] = json.loads(study.model_dump_json())
    plain |= {"hardware": hardware(), "versions": versions()}
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    replace_file(folder / "study.resolved.yaml", lambda path: path.write_text(text, encoding="utf-8"))


def _of_today(plain: dict[str, Any]) -> dict[str, Any]:
    """A stored study without a setting that earlier versions took and this one refuses: a trial trains on one GPU."""
    search = plain.get("search", {})
    if (search.get("gpus") or 0) > 1:
        return plain | {"search": search | {"gpus": 1.0}}
    return plain
