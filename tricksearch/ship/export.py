"""Export: from a record of a run to a folder that needs nothing of tricksearch."""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tricksearch.contract import InputError, Registry, Runtime, TrialError, discover
from tricksearch.records.averages import mean_of, shown
from tricksearch.records.constraints import baseline_of
from tricksearch.records.hardware import UNKNOWN
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record
from tricksearch.ship.folder import (
    BASELINE,
    MANIFEST,
    OWN,
    PREDICT,
    PREPROCESSING,
    Exported,
    manifest,
    read_exported,
    refuse_target,
    write_folder,
)
from tricksearch.ship.model_card import Subject, model_card
from tricksearch.ship.pick import picked_record
from tricksearch.store.changed_code import CodeChange, code_changes, has_measured_code, tricks_of
from tricksearch.store.changed_data import other_data
from tricksearch.store.run import StoredRun, cache_folder
from tricksearch.study.study import Study

if TYPE_CHECKING:
    from tricksearch.trial.context import JobContext
    from tricksearch.trial.data import DataSet
    from tricksearch.trial.stages import Deployed, Stages

Note = Callable[[str], None]
MODEL_STAGES = ("train", "compress", "deploy")  # those that make the file
TEMPLATE = Path(__file__).with_name("predict_template.py")  # of a folder's predict.py


@dataclass(frozen=True)
class Shipped:
    """An exported folder, and the stages of its model that the cache no longer held."""

    exported: Exported
    made_again: tuple[str, ...]


@dataclass(frozen=True)
class _Run:
    folder: Path
    study: Study
    records: list[Record]
    sources: Mapping[str, str]
    changes: list[CodeChange]


def export_run(
    folder: Path,
    pick: str = "knee",
    to: Path | None = None,
    note: Note = lambda text: None,
    *,
    url: str | None = None,
) -> Shipped:
    """Ship the record of a run that `pick` names, by default into `folder`/export/<id>.

    `note` is called with the name of each stage that runs; `url` is that of a store in a database, with its password.

    Raises InputError for what cannot be used, TrialError where a model that had to be made again is not the one
    that was measured, and whatever a stage raises.
    """
    run = _read(folder, url)
    record = mean_of([picked_record(run.records, run.study, pick, folder)])  # with the latency of the front's timing
    target = (to if to is not None else folder / "export" / record.id).resolve()
    refuse_target(target)
    recipe = Recipe.model_validate(record.recipe)
    registry = discover(recipe.plugins)
    _refuse_changed(record, registry, run)

    from tricksearch.trial.baseline import baseline_of as plain_net
    from tricksearch.trial.cache import Cache
    from tricksearch.trial.context import JobContext
    from tricksearch.trial.data.loaded import cached_data
    from tricksearch.trial.measuring.machine_lock import Machine
    from tricksearch.trial.measuring.runner import Runner
    from tricksearch.trial.stages import Stages

    data = cached_data(recipe.data)
    _refuse_other_data(folder, data, url)
    machine, runner = Machine(), Runner(data.validation.pixels.numpy())
    try:
        with machine.shared(), tempfile.TemporaryDirectory(prefix="tricksearch-") as scratch:
            context = JobContext(registry, data, Cache(cache_folder(run.study, folder)), machine, runner, note)
            stages = Stages(recipe, record.seed, context, Path(scratch), keys=record.keys)
            if context.cache.get("deploy", stages.keys.deploy) is None:
                context.cache.check()
            deployed = stages.deployed()
            made_again = tuple(stage for stage in MODEL_STAGES if stage not in stages.log.reused)
            _check_accuracy(stages, deployed, data, record, context)
            plain = plain_net(recipe, context).deployable.path
            contents = _contents(run, record, pick, deployed, data, plain)
            write_folder(target, contents)
    finally:
        runner.close()
        machine.close()
    return Shipped(read_exported(target), made_again)


def _read(folder: Path, url: str | None = None) -> _Run:
    with StoredRun.open(folder, url) as run:
        return _Run(folder, run.study, run.records(), run.sources, code_changes(run.store))


def _refuse_other_data(folder: Path, data: DataSet, url: str | None) -> None:
    with StoredRun.open(folder, url, read_only=True) as run:
        what = other_data(run.store, data)
    if what:
        raise InputError(f"the data are not those of the run: {what}", place="data", remedy="put the run's data back")


def _refuse_changed(record: Record, registry: Registry, run: _Run) -> None:
    for name in sorted(tricks_of(record)):
        if name in registry and not has_measured_code(record, name, registry, run.sources, run.changes):
            raise InputError(
                f"the code of '{name}' has changed since the run: what it gives now is not what was measured",
                place=str(run.folder),
                remedy="set the file back, or run the study again: here with --changed-tricks set-aside, or elsewhere",
            )


def _check_accuracy(stages: Stages, deployed: Deployed, data: DataSet, record: Record, context: JobContext) -> None:
    """Raise TrialError unless this file is known to have the record's accuracy, or is measured to have it."""
    from tricksearch.trial.measuring.scores import loaded_and_scored

    known = stages.scored_before()
    if "deploy" in stages.log.reused and known is not None and known.meta["accuracy"] == record.accuracy:
        return
    context.note("measure")
    scores = loaded_and_scored(
        context.runner,
        deployed.runtime,
        deployed.deployable,
        stages.recipe.train,
        data.validation,
        context.machine.step_aside,
    )
    if scores.accuracy != record.accuracy:
        raise TrialError(
            f"record {record.id} has an accuracy of {record.accuracy:.4f} %, and its model, made again, has "
            f"{scores.accuracy:.4f} % on the same {scores.n} validation images: it is not the one that was measured, "
            "and nothing was exported. Another processor or other versions can do that; run the study again here"
        )


def _contents(
    run: _Run, record: Record, pick: str, deployed: Deployed, data: DataSet, plain: Path
) -> dict[str, bytes | Path]:
    """Every file of the folder, by name."""
    recipe, deployable, runtime = Recipe.model_validate(record.recipe), deployed.deployable, deployed.runtime
    channels, height, width = (int(side) for side in data.validation.pixels.shape[1:])
    packages = _packages(runtime, record)
    models: dict[str, bytes | Path] = {file.name: file for file in deployable.files}
    taken = sorted(set(models) & {*OWN, BASELINE})
    if taken:
        raise TrialError(f"the deployable's file '{taken[0]}' has the name of a file that an export writes")
    means = shown(run.records)
    baseline = baseline_of(means)
    subject = Subject(
        run.study.name,
        pick,
        record,
        next((mean for mean in means if mean.recipe_key == record.recipe_key), record),
        baseline,
        run.records,
        deployable,
        runtime,
        packages,
        len(data.classes),
        (channels, height, width),
    )
    heading = (
        f"Record {record.id} of '{run.study.name}', seed {record.seed}.\nRun it with: tricksearch trial recipe.yaml"
    )
    texts = {
        PREDICT: predict_text(runtime, deployable.path.name, deployable.precision, recipe),
        PREPROCESSING: _preprocessing(deployable.input, channels, height, width, data.classes),
        "recipe.yaml": recipe.to_yaml(heading) + f"seed: {record.seed}\n",
        "requirements.txt": "".join(f"{name}=={version.partition('+')[0]}\n" for name, version in packages.items()),
        "README.md": model_card(subject),
    }
    contents = models | {BASELINE: plain} | {name: text.encode() for name, text in texts.items()}
    body = {
        "record": record.to_json(),
        "baseline": baseline.to_json() if baseline else None,
        "deployable": {
            "path": deployable.path.name,
            "beside": [file.name for file in deployable.beside],
            "format": deployable.format,
            "precision": deployable.precision,
            "input": deployable.input,
        },
        "runtime": {
            "name": runtime.name,
            "packages": list(runtime.packages),
            "options": dict(runtime.options),
            "threads": runtime.threads,
            "device": runtime.device,
        },
        "packages": packages,
        "validation": data.digest("validation"),
    }
    return contents | {MANIFEST: manifest(body, contents).encode()}


def predict_text(runtime: Runtime, model: str, precision: str, recipe: Recipe) -> str:
    """The text of a folder's predict.py: this package's own, with the runtime's `load` and the measured settings."""
    from tricksearch.trial.measuring.runtimes import source_of

    head, start, rest = TEMPLATE.read_text(encoding="utf-8").partition("# -- the model and how it was measured")
    end = "# -- end of what is filled in --\n"
    tail = rest.partition(end)[2]
    # Named again at once: what the file defines further down may have the same name as the runtime's function.
    filled = (
        f"{start} --\n\n\n"
        f"{source_of(runtime)}\n\n"
        f"LOAD = {runtime.load.__name__}\n"
        f"MODEL = {model!r}\n"
        f"PRECISION = {precision!r}\n"
        f"OPTIONS: dict[str, Any] = {dict(runtime.options)!r}\n"
        f"THREADS = {runtime.threads or recipe.latency.threads}\n"
        f"BATCH = {recipe.latency.batch}\n"
        f"{end}"
    )
    return head + filled + tail


def _preprocessing(name: str, channels: int, height: int, width: int, classes: tuple[str, ...]) -> str:
    from tricksearch.trial.data.pictures import COLOUR, GREY

    content = {
        "input": {
            "name": name,
            "dtype": "float32",
            "layout": "NCHW",
            "channels": channels,
            "height": height,
            "width": width,
            "range": [0, 1],
        },
        "colour": "grey" if channels == 1 else "RGB",
        "image_modes": sorted(GREY | COLOUR),
        "steps": [
            "decode, and turn the image upright where its EXIF says so",
            f"convert to {'grey (Pillow L)' if channels == 1 else 'RGB'}; transparency is dropped",
            f"where the image is not {width} x {height}: resize it to that, bilinear with antialiasing, the aspect "
            "ratio not kept, and round to whole levels 0 to 255",
            "order the axes as (channels, height, width)",
            "divide by 255; the normalisation is a part of the model",
        ],
        "classes": list(classes),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _packages(runtime: Runtime, record: Record) -> dict[str, str]:
    """What predict.py needs, with the version that was measured: the record's, or for an extra that of today."""
    versions = {}
    for name in ("numpy", *runtime.packages):
        measured = record.versions.get(name, "absent")
        if measured.startswith(UNKNOWN):
            raise TrialError(f"the record did not run a version of '{name}' that can be installed ({measured})")
        try:
            versions[name] = measured if measured != "absent" else importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise TrialError(f"the package '{name}', which {runtime.name} needs, is not installed here") from None
    return versions
