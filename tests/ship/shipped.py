"""A run of two trials, one with a runtime of its own, which tests export."""

import json

import yaml

from tricksearch.contract import discover, source_hash
from tricksearch.records.recipe import Recipe
from tricksearch.store import facts
from tricksearch.store.run import cache_folder
from tricksearch.store.store import Store
from tricksearch.study.study import load_study
from tricksearch.trial.data import load_data
from tricksearch.trial.job import Job
from tricksearch.trial.run import run_trial

OWN = '''"""plain_name: {what}.

Paper: none
Use when: testing.
Avoid when: not testing.
Cost: none.
"""
from dataclasses import dataclass, replace
from typing import Annotated
import shutil
from tricksearch import Choice, Runtime, Trick


def {load}(path, threads, precision, gain):
    """A `load` with a name that predict.py has too, and an option."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: gain * session.run(None, {{name: images}})[0]


@dataclass(frozen=True)
class Own(Trick):
    """Runs a file of two parts with a runtime of its own."""
    text: Annotated[str, Choice("a|b `c` <i>", "z")] = "a|b `c` <i>"

    def deploy(self, deployable, bench):
        beside = bench.folder / "labels 'and' more.txt"
        beside.write_text("beside")
        return replace(deployable, beside=(beside,))

    def runtime(self, runtime, bench):
        return Runtime("It's *own* <runtime>", {load}, ("onnxruntime",), options={{"gain": 2.0}}, threads=1)
'''
STUDY = {
    "name": "digits & co",
    "data": {"name": "digits", "validation": 0.3, "test": 0.3, "train_images": 60, "validation_images": 150},
    "net": {"widths": [8], "blocks": 1},
    "train": {"epochs": 2, "batch_size": 20},
    "latency": {"seconds": 0.05, "precision": 0.5, "block_seconds": 0.001},
    "search": {"trials": 3},
    "plugins": ["own"],
    "tricks": {"own_runtime": "always"},
}


def make_run(folder):
    """Train and measure the two, and leave them in a run folder."""
    (folder / "own").mkdir()
    (folder / "own" / "own_runtime.py").write_text(OWN.format(what="a runtime of its own", load="predict"))
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    study = load_study(folder / "study.yaml")
    cache = cache_folder(study, folder)
    store = Store.at(folder / "store.db")
    tricks = discover(study.plugins)
    store.put_fact(facts.STUDY, json.loads(study.model_dump_json()))
    store.put_fact(facts.SOURCES, {"own_runtime": source_hash(tricks["own_runtime"])})
    own = study.recipe({"own_runtime": {"text": "a|b `c` <i>"}})
    for number, recipe in enumerate((study.base_recipe(), own)):
        phase = "search" if number else "baseline"
        store.add(run_trial(Job.of(recipe, cache=cache, trial=number, phase=phase), reraise=(Exception,)))
    store.close()
    return folder


def validation():
    data = load_data(Recipe.model_validate({"data": STUDY["data"]}).data)
    return data.validation.pixels.numpy(), data.validation.labels.numpy()
