"""The stages of a trial: train -> compress -> deploy -> score and time, each looked up before it is run.

A variant that differs from another after training alone finds the trained net in the cache; one that is known
to the last stage costs nothing at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tricksearch.contract import Deployable, Runtime
from tricksearch.records.recipe import Recipe
from tricksearch.trial.baseline import (
    baseline_of,
    keep_yardstick_ms,
    key_of_baseline,
    known_yardstick_ms,
    yardstick_ms,
)
from tricksearch.trial.cache import Entry
from tricksearch.trial.context import JobContext
from tricksearch.trial.deployment import deploy, noted, restored, runtime_of, skeleton_of
from tricksearch.trial.keys import latency_key, score_key
from tricksearch.trial.latencies import measures_of
from tricksearch.trial.measuring.arithmetic import check_arithmetic, images_to_compare
from tricksearch.trial.measuring.latency import timed_alone
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.measuring.scores import loaded_and_scored
from tricksearch.trial.net_stages import GRAPH, NetStages
from tricksearch.trial.rungs import Rungs
from tricksearch.trial.training.workbench import Bench

QUANTIZED = "quantized"
DEFINITION = "definition.onnx"  # beside a quantized deployable of another format: the graph that it was made of


@dataclass(frozen=True)
class Deployed:
    """A deployable in the cache, its runtime, and what is known of it: file_bytes, skeleton and the like."""

    deployable: Deployable
    runtime: Runtime
    meta: Mapping[str, Any]


class Stages:
    """One recipe and one seed, stage by stage."""

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        context: JobContext,
        folder: Path,
        rungs: Rungs | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        """`keys` are those of a record of the recipe, which is then found as it was measured; see `kept_keys`."""
        self.net = NetStages(recipe, seed, context, folder, rungs, keys)
        self.recipe, self.seed, self.context, self.folder = recipe, seed, context, folder
        self.bench, self.keys, self.log, self.clock = self.net.bench, self.net.keys, self.net.log, self.net.clock
        self._deployed: Deployed | None = None
        self._run_by: Runtime | None = None

    def measures(self) -> dict[str, Any]:
        """Everything measured of the deployable, by the names of measures and of a record's other fields.

        Raises TrialError and what a stage may raise.
        """
        deployed = self.deployed()
        scored = self._scored(deployed)
        self.context.machine.step_aside()
        timed = self.timed(deployed.deployable, deployed.runtime, deployed.meta["skeleton"])
        counted = {name: deployed.meta[name] for name in ("params", "macs", "file_bytes", "train_seconds", "effective")}
        made = {"precision": deployed.deployable.precision, "form": deployed.deployable.note}
        return {**scored, **timed, **counted, **made, **self._tested(deployed)}

    def deployed(self) -> Deployed:
        """The deployable, from the cache or made, and what runs it."""
        if self._deployed is None:
            self._deployed = self._cached_or_made()
        return self._deployed

    @property
    def is_deployed(self) -> bool:
        """Whether the deployable is known already."""
        return self.context.cache.get("deploy", self.keys.deploy) is not None

    def runtime(self) -> Runtime:
        """What runs the deployable."""
        if self._run_by is None:
            self._run_by = runtime_of(self.bench)
        return self._run_by

    def deploy(self, bench: Bench, deployable: Deployable) -> tuple[Deployable, Path]:
        """What the deploy hooks make of a graph, and the last ONNX graph on the way to it."""
        return deploy(bench, deployable, self.runtime)

    def scored_before(self) -> Entry | None:
        """What is kept of the score on the validation images, where that is known already."""
        return self.context.cache.get("score", score_key(self.keys.score, self.runtime()))

    def timed(self, deployable: Deployable, runtime: Runtime, skeleton: str) -> dict[str, Any]:
        """The latency of a deployable and what is taken with it, by the names of a record's fields."""
        context, settings = self.context, self.recipe.latency
        nonce = None if context.fresh is None else [self.seed, context.fresh]  # the same where a trial is run again
        plain, net, device = *key_of_baseline(self.recipe, context), runtime.device
        graph, key = (
            latency_key(self.recipe, deployable, skeleton, self.bench.tricks, runtime, net, mark)
            for mark in (None, nonce)
        )
        with context.cache.building("latency", key, context.machine):
            known = context.cache.get("latency", key)
            if known is None:
                baseline = baseline_of(self.recipe, context)
                context.note("time")
                self.log.ran("latency")
                (timing,) = timed_alone(
                    context.runner,
                    context.machine,
                    [(runtime, deployable)],
                    baseline.deployable,
                    settings,
                    known_yardstick_ms(self.recipe, plain, device, context),
                )
                refers_to = yardstick_ms(self.recipe, plain, device, timing, context)
                measured = measures_of(timing, refers_to, settings, graph, device)
                measured["timing"]["plain_net"] = plain
                if timing.reliable:  # a latency that was disturbed is not shared with other nets
                    context.cache.put("latency", key, measured)
                return measured
        self.log.known("latency")
        if known.meta["timing"].get("plain_net") == plain:  # and not the file that another version made of that net
            keep_yardstick_ms(self.recipe, plain, device, known.meta["timing"]["refers_to_ms"], context)
        return dict(known.meta)

    def _cached_or_made(self) -> Deployed:
        context, key = self.context, self.keys.deploy
        known = context.cache.get("deploy", key)
        if known is None:
            graph = self.net.graph()
            with context.cache.building("deploy", key, context.machine):
                known = context.cache.get("deploy", key) or self._deploy_and_store(graph)
        else:
            self.log.known("train", "compress", "deploy")
        return Deployed(restored(known.meta, known.file), self.runtime(), known.meta)

    def _deploy_and_store(self, graph: Entry) -> Entry:
        context = self.context
        context.machine.step_aside()
        context.note("deploy")
        self.log.ran("deploy")
        own = self.folder / GRAPH
        shutil.copyfile(graph.file(GRAPH), own)
        deployable, last = self.deploy(self.bench, Deployable(own))
        files = {file.name: file for file in deployable.files}
        if deployable.precision == QUANTIZED and last not in deployable.files:
            files |= {DEFINITION: last}  # what a runtime's own format is held against
        meta = noted(deployable, skeleton_of(last), graph.meta)
        return context.cache.put("deploy", self.keys.deploy, meta, files)

    def _scored(self, deployed: Deployed) -> dict[str, Any]:
        meta = self._score(deployed, self.keys.score, self.context.runner, "validation")
        return {
            "accuracy": meta["accuracy"],
            "f1": meta["f1"],
            "f1_error": meta["f1_error"],
            "validation_images": meta["images"],
        }

    def _tested(self, deployed: Deployed) -> dict[str, Any]:
        if self.context.tester is None or self.keys.test is None:
            return {}
        meta = self._score(deployed, self.keys.test, self.context.tester, "test")
        return {"test_accuracy": meta["accuracy"], "test_images": meta["images"]}

    def _score(
        self, deployed: Deployed, stage_key: str, runner: Runner, split: Literal["validation", "test"]
    ) -> Mapping[str, Any]:
        context, key = self.context, score_key(stage_key, deployed.runtime)
        known = context.cache.get("score", key)
        if known is None:
            context.note("measure" if split == "validation" else "test")
            self.log.ran("score")
            images = context.data.validation if split == "validation" else context.data.test
            scores = loaded_and_scored(
                runner,
                deployed.runtime,
                deployed.deployable,
                self.recipe.train,
                images,
                context.machine.step_aside,
            )
            if split == "validation" and deployed.deployable.precision == QUANTIZED:
                self._check_arithmetic(deployed)
            known = context.cache.put("score", key, scores.measures)
        else:
            self.log.known("score")
        return known.meta

    def _check_arithmetic(self, deployed: Deployed) -> None:
        """Raise TrialError where the runtime, which has the file loaded, does not compute what the file says."""
        context, made = self.context, self.context.cache.get("deploy", self.keys.deploy)
        plain = context.cache.get("compress", self.keys.compress)
        if made is None or plain is None:  # a small cache has dropped it: the trial that made it was checked
            return
        is_graph = deployed.deployable.format == "onnx"
        quantized = deployed.deployable.path if is_graph else made.file(DEFINITION)
        context.machine.step_aside()
        count = images_to_compare(deployed.meta["macs"], len(context.data.validation))
        pixels = context.data.validation.pixels[:count].numpy()
        check_arithmetic(
            context.runner.logits,
            quantized,
            plain.file(GRAPH),
            pixels.astype("float32") / 255,
            deployed.runtime.name,
        )
