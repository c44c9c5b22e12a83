"""Stage keys: for each stage of a trial a hash of exactly what can change its result.

Each key is built on the key of the stage before it, so what comes later never changes what came before: the
trained net is the same whether it is then quantized or not. Of the engine and of the tricks that act in a stage, the
key holds the code that the stage runs, apart from its words, and the versions of the packages which that code imports.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tricksearch.contract import (
    Deployable,
    Json,
    Net,
    Registry,
    Runtime,
    Trick,
    domains,
    inner_tricks,
    source_hash,
    stages,
    trick_name,
)
from tricksearch.contract.code import code_hash
from tricksearch.contract.discovery import text_of
from tricksearch.records.hardware import cpu_features, deciding, device_name, hardware, versions_of
from tricksearch.records.recipe import Recipe
from tricksearch.records.settings import NetSettings
from tricksearch.trial.data import DataSet
from tricksearch.trial.engine_code import code_of, engine_hash, imported_by
from tricksearch.trial.measuring.runtimes import source_of
from tricksearch.trial.training.precision import Precision

MODEL_STAGES = ("train", "compress", "deploy")  # those that make the file


@dataclass(frozen=True)
class Keys:
    """The keys of one recipe and seed."""

    train: str
    compress: str
    deploy: str
    score: str  # see `score_key`
    test: str | None = None  # of the score on the test split, where that was asked for; see `score_key`

    @property
    def measured(self) -> dict[str, str]:
        """Those by which what a record was measured on is found again, whoever asks."""
        return {name: getattr(self, name) for name in (*MODEL_STAGES, "score")}


def stage_keys(
    recipe: Recipe,
    seed: int,
    tricks: Iterable[Trick],
    data: DataSet,
    precision: Precision,
    registry: Registry,
    test: bool = False,
    kept: Mapping[str, str] | None = None,
) -> Keys:
    """The keys of a recipe whose tricks are these, in their order. Without `test`, no test image is looked at.

    `kept` are keys of a record, by their stages, that stand in place of what this process would give: see `kept_keys`.
    """
    tricks, kept = list(tricks), kept or {}
    here = {"cpu": [hardware()["cpu"], cpu_features()]}

    def acting(stage: str) -> list[Json]:
        return [_identity(trick, registry) for trick in tricks if stage in stages(type(trick))]

    train = kept.get("train") or _key(
        "train",
        {
            **_engine("train"),
            "device": device_name(str(precision.device)),
            "precision": [str(precision.device.type), str(precision.dtype), precision.channels_last],
            "data": [data.digest("train"), len(data.classes), data.augment],
            "net": recipe.net.model_dump(mode="json"),
            "train": recipe.train.model_dump(mode="json", exclude={"device", "precision", "channels_last"}),
            "seed": seed,
            "tricks": acting("train"),
        },
    )
    # The processor counts here too: a net may be trained to be rounded as this one computes.
    compress = kept.get("compress") or _key(
        "compress", {"on": train, "tricks": acting("compress"), **_engine("compress"), **here}
    )
    made = {"on": compress, "tricks": acting("deploy"), **_engine("deploy"), **here}
    deploy = kept.get("deploy") or _key("deploy", made)

    def scored(split: str) -> str:
        ran = {"tricks": acting("measure"), "data": data.digest(split), **here}
        return _key("score", {"on": deploy, **ran, **_engine("score")})

    score = kept.get("score") or scored("validation")
    return Keys(train, compress, deploy, score, scored("test") if test else None)


def kept_keys(keys: Mapping[str, str], has: Callable[[str, str], bool]) -> dict[str, str]:
    """Of the keys that a record was measured under, those of the stages that are still there, up to the last one.

    They are the record's own, so what a worker made that saw another processor, or fewer GPUs, is found by a process
    that would give other keys. What was lost is made under the keys of the process that makes it. `has` says whether
    there is an entry of a stage and key.
    """
    for last in range(len(MODEL_STAGES), 0, -1):
        stages = MODEL_STAGES[:last]
        if all(stage in keys for stage in stages) and has(stages[-1], keys[stages[-1]]):
            score = ("score",) if last == len(MODEL_STAGES) and "score" in keys else ()
            return {stage: keys[stage] for stage in (*stages, *score)}
    return {}


def score_key(key: str, runtime: Runtime) -> str:
    """The key of a score that `runtime` gives, where `key` is that of the stage.

    The runtime is known only once the tricks have named it; its `load` may stand outside a trick's file.
    """
    return _key("score", {"on": key, "runtime": _runtime(runtime)})


def latency_key(
    recipe: Recipe,
    deployable: Deployable,
    skeleton: str,
    tricks: Iterable[Trick],
    runtime: Runtime,
    baseline: Json,
    nonce: Json = None,
) -> str:
    """The key of a latency, which depends on the graph and not on its weights: nets of one shape share it.

    `skeleton` is the hash of the deployed graph or, in another format, of the last graph that it was made from;
    `baseline` what makes the plain net (`plain_net`), which a latency is a ratio to. With a `nonce`, only trials that
    bring the same one share it.
    """
    making = [trick for trick in tricks if "deploy" in stages(type(trick))] if deployable.format != "onnx" else []
    return _key(
        "latency",
        {
            **_engine("latency"),
            "hardware": [deciding(hardware(), runtime.device), cpu_features()],
            "baseline": baseline,
            "skeleton": skeleton,
            "format": deployable.format,
            "precision": deployable.precision,
            "deploy": [_identity(trick, {}) for trick in making],
            "runtime": _runtime(runtime),
            "latency": recipe.latency.model_dump(mode="json"),
        }
        | ({} if nonce is None else {"nonce": nonce}),
    )


def baseline_key(recipe: Recipe, input_shape: tuple[int, int, int], num_classes: int) -> str:
    """The key of the plain net's untrained file, beside which latencies are taken."""
    return _key("baseline", {**_engine("baseline"), "net": plain_net(recipe, input_shape, num_classes)})


def plain_net(recipe: Recipe, input_shape: tuple[int, int, int], num_classes: int) -> Json:
    """What makes the plain net, whatever version of a library builds it."""
    return [recipe.net.model_dump(mode="json"), list(input_shape), num_classes]


def yardstick_key(recipe: Recipe, baseline: str, device: str) -> str:
    """The key of what a run's latencies in milliseconds are multiples of: a time of the yardstick on this machine."""
    return _key(
        "latency",
        {
            **_engine("latency"),
            "hardware": [deciding(hardware(), device), cpu_features()],
            "yardstick": [baseline, device],
            "call": [recipe.latency.batch, recipe.latency.threads],
        },
    )


def _engine(stage: str) -> dict[str, Json]:
    """What a stage runs of the engine, and the versions of what that imports."""
    return {"engine": engine_hash(stage), "versions": versions_of(code_of(stage).packages)}


def _runtime(runtime: Runtime) -> Json:
    """A runtime: its settings, its `load`, wherever that is defined, and what the `load` imports."""
    source = source_of(runtime)
    below, packages = imported_by(source)
    settings: list[Json] = [runtime.name, dict(runtime.options), runtime.threads, runtime.device]
    if runtime.device != "cpu":
        settings.append(deciding(hardware(), runtime.device)["gpus"])
    return [*settings, code_hash(source), below, versions_of(packages)]


def _identity(trick: Trick, registry: Registry) -> Json:
    """A trick's name, values and code; where it has a teacher, the code of its tricks and what fills its recipe up."""
    values = asdict(trick)  # type: ignore[call-overload]
    inner = sorted(name for name in inner_tricks(values) if name in registry)
    teachers = any(_asks_a_teacher(asking) for asking in (type(trick), *(registry[name] for name in inner)))
    # A teacher's net is filled up with these defaults; what its training leaves out is the student's.
    default_net = NetSettings().model_dump(mode="json") if teachers else None
    codes = {name: _code(registry[name]) for name in inner}
    return [trick_name(type(trick)), values, _code(type(trick)), codes, default_net]


def _asks_a_teacher(trick: type[Trick]) -> bool:
    """Whether a trick may ask for a teacher: a hyperparameter is a net, or its code asks for one by a fixed recipe."""
    if any(isinstance(domain, Net) for domain in domains(trick).values()):
        return True
    nodes = ast.walk(ast.parse(text_of(trick)))
    return any(isinstance(node, ast.Attribute) and node.attr == "teacher" for node in nodes)


def _code(trick: type[Trick]) -> Json:
    """The trick's own code, the engine's that it imports, and the versions of the packages that both import."""
    below, packages = imported_by(text_of(trick))
    return [source_hash(trick), below, versions_of(packages)]


def _key(stage: str, parts: dict[str, Any]) -> str:
    text = json.dumps({"stage": stage, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
