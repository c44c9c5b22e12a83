"""Stage keys: for each stage of a trial a hash of exactly what can change its result.

Each key is built on the key of the stage before it, so what comes later never changes what came before: the
trained net is the same whether it is then quantized or not.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tricksearch.contract import Deployable, Json, Registry, Runtime, Trick, source_hash, stages, trick_name
from tricksearch.records.hardware import cpu_features, extra_versions, hardware, versions
from tricksearch.records.recipe import Recipe
from tricksearch.trial.data import DataSet
from tricksearch.trial.measuring.runtimes import source_of
from tricksearch.trial.training.precision import Precision


@dataclass(frozen=True)
class Keys:
    """The keys of one recipe and seed."""

    train: str
    compress: str
    deploy: str
    score: str
    test: str | None = None  # of the score on the test split, where that was asked for


def stage_keys(
    recipe: Recipe,
    seed: int,
    tricks: Iterable[Trick],
    data: DataSet,
    precision: Precision,
    registry: Registry,
    test: bool = False,
) -> Keys:
    """The keys of a recipe whose tricks are these, in their order. Without `test`, no test image is looked at."""
    tricks = list(tricks)
    here = {"versions": extra_versions(), "cpu": [hardware()["cpu"], cpu_features()]}

    def acting(stage: str) -> list[Json]:
        return [_identity(trick, registry) for trick in tricks if stage in stages(type(trick))]

    train = _key(
        "train",
        {
            "engine": engine_hash(),
            "versions": versions(),
            "device": hardware()["gpus"] if precision.device.type == "cuda" else hardware()["cpu"],
            "precision": [str(precision.device.type), str(precision.dtype), precision.channels_last],
            "data": [data.digest("train"), len(data.classes), data.augment],
            "net": recipe.net.model_dump(mode="json"),
            "train": recipe.train.model_dump(mode="json", exclude={"device", "precision", "channels_last"}),
            "seed": seed,
            "tricks": acting("train"),
        },
    )
    compress = _key("compress", {"on": train, "tricks": acting("compress")})
    deploy = _key("deploy", {"on": compress, "tricks": acting("deploy"), **here})

    def scored(split: str) -> str:
        ran = {"tricks": acting("measure"), "data": data.digest(split), "gpus": hardware()["gpus"], **here}
        return _key("score", {"on": deploy, **ran})

    return Keys(train, compress, deploy, scored("validation"), scored("test") if test else None)


def latency_key(
    recipe: Recipe,
    deployable: Deployable,
    skeleton: str,
    tricks: Iterable[Trick],
    runtime: Runtime,
    nonce: Json = None,
) -> str:
    """The key of a latency, which depends on the graph and not on its weights: nets of one shape share it.

    `skeleton` is the hash of the deployed graph or, in another format, of the last graph that it was made from. With a
    `nonce`, only trials that bring the same one share it.
    """
    making = [trick for trick in tricks if "deploy" in stages(type(trick))] if deployable.format != "onnx" else []
    return _key(
        "latency",
        {
            "engine": engine_hash(),
            "versions": versions() | extra_versions(),
            "hardware": [hardware(), cpu_features()],
            "skeleton": skeleton,
            "format": deployable.format,
            "precision": deployable.precision,
            "deploy": [_identity(trick, {}) for trick in making],
            "runtime": [
                runtime.name,
                source_of(runtime),
                dict(runtime.options),
                runtime.threads,
                runtime.device,
            ],
            "latency": recipe.latency.model_dump(mode="json"),
        }
        | ({} if nonce is None else {"nonce": nonce}),
    )


def skeleton_of(graph: Path) -> str:
    """A hash of an ONNX graph without the values of its weights: nodes, attributes, shapes, types."""
    import onnx

    model = onnx.load(str(graph))
    resizing = {name for node in model.graph.node if node.op_type == "Resize" for name in node.input}
    for tensor in model.graph.initializer:
        # Shapes, axes and the scales of a resizing do change the work; the numbers of a layer do not.
        if tensor.data_type != onnx.TensorProto.INT64 and tensor.name not in resizing:
            for content in ("raw_data", "float_data", "int32_data", "double_data", "uint64_data"):
                tensor.ClearField(content)
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()[:32]


@functools.cache
def engine_hash() -> str:
    """A hash of the engine's own sources, which can change a result as well as a trick's can."""
    root = Path(__file__).parent.parent
    files = sorted(file for part in ("contract", "toolkit", "trial") for file in (root / part).rglob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _identity(trick: Trick, registry: Registry) -> Json:
    """A trick's name, values and source; where a value is a recipe, as a teacher's, its tricks' sources too."""
    values = asdict(trick)  # type: ignore[call-overload]
    inner = [value.get("tricks") or {} for value in values.values() if isinstance(value, dict)]
    sources = {name: source_hash(registry[name]) for tricks in inner for name in tricks if name in registry}
    return [trick_name(type(trick)), values, source_hash(type(trick)), sources]


def _key(stage: str, parts: dict[str, Any]) -> str:
    text = json.dumps({"stage": stage, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
