"""An exported folder: written in one step, and read back with every file proved by its checksum."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tricksearch.contract import Deployable, InputError, Predictor, Runtime
from tricksearch.records.record import Record

MANIFEST = "record.json"
PREDICT = "predict.py"
PREPROCESSING = "preprocessing.json"
BASELINE = "baseline.onnx"  # the plain net's file, beside which the latency was taken and is taken again
OWN = (MANIFEST, PREDICT, PREPROCESSING, "recipe.yaml", "requirements.txt", "README.md")
FORMAT = 1
AGAIN = "export it again with: tricksearch export"


@dataclass(frozen=True)
class Exported:
    """A folder that `tricksearch export` wrote: the record, the model, and what runs it."""

    folder: Path
    record: Record
    deployable: Deployable
    runtime: Runtime  # with the `load` of the folder's own predict.py
    packages: Mapping[str, str]  # that predict.py needs, with the versions that were measured
    validation: str  # digest of the validation images that were measured on
    baseline: Deployable | None  # the plain net's file; None where an earlier version exported the folder


def manifest(body: Mapping[str, Any], files: Mapping[str, bytes | Path]) -> str:
    """The text of record.json: `body`, with a checksum of each of the other files and one of itself."""
    whole = {"format": FORMAT, **body, "files": {name: _digest(content) for name, content in sorted(files.items())}}
    return json.dumps(whole | {"check": _digest(_canonical(whole))}, indent=2, ensure_ascii=False) + "\n"


def is_export(folder: Path) -> bool:
    """Whether all that is in a folder was written by an export, changed since or not."""
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["files"]
        return {file.name for file in folder.iterdir()} <= {MANIFEST, "__pycache__", *listed}
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_exported(folder: Path) -> Exported:
    """Read a folder. Raises InputError where no export is there, or where a file is missing or was changed."""
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"this is no exported folder: {MANIFEST} cannot be read ({error.strerror})",
            place=str(folder),
            remedy="name a folder that 'tricksearch export' wrote",
        ) from None
    try:
        body = json.loads(content)
        check, version = body.pop("check"), body["format"]
        if check != _digest(_canonical(body)):
            raise InputError("the file was changed or is damaged", place=str(path), remedy=AGAIN)
        if version != FORMAT:
            raise InputError(f"the folder has format {version}, this version reads {FORMAT}", place=str(path))
        _check_files(folder, body["files"])
        return _read(folder, body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError(f"the file holds no record of an export ({what})", place=str(path), remedy=AGAIN) from None


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, check in files.items():
        file = folder / name
        if Path(name).name != name:
            raise InputError(f"'{name}' is no file of this folder", place=str(folder / MANIFEST), remedy=AGAIN)
        try:
            intact = _digest(file) == check
        except OSError as error:
            raise InputError(f"the file cannot be read: {error.strerror}", place=str(file), remedy=AGAIN) from None
        if not intact:
            raise InputError("the file was changed since the export, or is damaged", place=str(file), remedy=AGAIN)


def _read(folder: Path, body: Mapping[str, Any]) -> Exported:
    model, runtime = dict(body["deployable"]), body["runtime"]
    model["path"] = folder / model["path"]
    model["beside"] = tuple(folder / name for name in model["beside"])
    deployable = Deployable(**model)
    return Exported(
        folder,
        Record.from_json(body["record"]),
        deployable,
        Runtime(
            runtime["name"],
            shipped_load(folder / PREDICT),
            tuple(runtime["packages"]),
            format=deployable.format,
            precisions=(deployable.precision,),
            options=runtime["options"],
            threads=runtime["threads"],
            device=runtime.get("device", "cpu"),
        ),
        dict(body["packages"]),
        body["validation"],
        Deployable(folder / BASELINE) if BASELINE in body["files"] else None,
    )


def shipped_load(path: Path) -> Callable[..., Predictor]:
    """The runtime's `load` in a predict.py, whose text `inspect` finds there. Runs the file's top level."""
    names: dict[str, Any] = {"__name__": "shipped_predict", "__file__": str(path)}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)  # noqa: S102  # its checksum was proved
    load: Callable[..., Predictor] = names["LOAD"]
    return load


def refuse_target(target: Path) -> None:
    """Raise InputError where something else than an earlier export is in the way, or nothing can be written."""
    try:
        above = next((parent for parent in target.parents if parent.exists()), target)
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise NotADirectoryError(0, f"'{above}' is no folder that may be written")
        if not target.exists():
            return
        if not target.is_dir():
            raise InputError("a file is in the way", place=str(target), remedy="name another folder with --to")
        names = sorted(file.name for file in target.iterdir())
    except OSError as error:
        raise _unusable(target, error) from error
    if names and not is_export(target):
        raise InputError(
            f"the folder holds what no export wrote ('{names[0]}' and the like)"
            if len(names) > 1
            else f"the folder holds '{names[0]}', which no export wrote",
            place=str(target),
            remedy="name another folder with --to, or empty this one",
        )


def write_folder(target: Path, contents: Mapping[str, bytes | Path]) -> None:
    """Write the folder beside its place and put it there in one step, instead of an earlier export."""
    new, old = (target.with_name(f".{target.name}.{os.getpid()}.{kind}") for kind in ("new", "old"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        new.mkdir()
        for name, content in contents.items():
            with (new / name).open("wb") as file:
                file.write(content if isinstance(content, bytes) else content.read_bytes())
                file.flush()
                os.fsync(file.fileno())
        refuse_target(target)  # it may have been filled meanwhile
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    except OSError as error:
        raise _unusable(target, error) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _unusable(target: Path, error: OSError) -> InputError:
    return InputError(
        f"the folder cannot be written: {error.strerror or error}",
        place=str(target),
        remedy="name another folder with --to, or free some space",
    )


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True).encode()


def _digest(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
