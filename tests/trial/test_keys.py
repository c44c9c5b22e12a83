"""What a stage's key holds: the code that the stage runs, without its words, and the packages that it imports."""

import importlib
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import tricksearch
from tricksearch.contract.code import imports
from tricksearch.records import hardware
from tricksearch.trial import engine_code
from tricksearch.trial.cache import STAGES
from tricksearch.trial.context import StageLog
from tricksearch.trial.engine_code import BYSTANDERS, code_of
from tricksearch.trial.run import _tricks

ENGINE = Path(tricksearch.__file__).parent
KNOWN = tuple(stage for stage in STAGES if stage != "baseline")  # that a record tells it has reused
ORDER = ("train", "compress", "deploy", "score", "test")


@pytest.fixture
def upgrade(monkeypatch):
    """Another version of a distribution is installed from now on."""

    def to(name):
        other = re.sub(r"[-_.]+", "-", name).lower()

        def instead_of(real):
            return lambda asked: "999" if re.sub(r"[-_.]+", "-", asked).lower() == other else real(asked)

        for function in ("version", "running"):
            monkeypatch.setattr(hardware, function, instead_of(getattr(hardware, function)))
        hardware.versions.cache_clear()
        hardware.extra_versions.cache_clear()

    yield to
    monkeypatch.undo()
    hardware.versions.cache_clear()
    hardware.extra_versions.cache_clear()


@pytest.fixture
def again(trial, tmp_path, monkeypatch):
    """Run a trial, as a new process would, with the cache of this test; returns the stages that it did not run."""
    # The machine that tests run on may be restless, and such a latency is not kept.
    monkeypatch.setattr("tricksearch.trial.measuring.stopwatch.Timing.reliable", True)

    def run(**parts):
        _tricks.cache_clear()
        record = trial(cache=tmp_path / "cache", **parts)
        assert record.status == "finished", record.reason
        return record.reused

    return run


def changed(before, after):
    return {stage for stage in before if before[stage] != after[stage]}


def replaced(path, old, new):
    """An edit of one file, which must be there and have the text once."""
    assert (ENGINE / path).read_text().count(old) == 1
    return lambda name, text: text.replace(old, new) if name == path else text


NEVER = [
    "rich",
    "typer",
    "plotly",
    "pandas",
    "statsmodels",
    "ray",
    "optuna",
    "pydantic",
    "SQLAlchemy",
    "PyYAML",
]
# Data stand in the keys with their pixels, whoever read them.
NEVER += ["pillow", "scikit-learn", "psutil", "tricksearch"]


@pytest.mark.parametrize("package", NEVER)
def test_an_upgrade_of_what_no_stage_runs_changes_no_key(keys, upgrade, package):
    before = keys(tricks={"int8": {}, "pruning": {}})
    upgrade(package)
    assert hardware.versions_of([package])[package] == "999"
    assert changed(before, keys(tricks={"int8": {}, "pruning": {}})) == set()


@pytest.mark.parametrize(
    ("package", "tricks", "first", "latency"),
    [
        ("torch", {}, "train", True),
        ("numpy", {}, "train", True),
        ("timm", {}, "train", False),
        ("kornia", {}, "train", False),
        ("onnxruntime", {}, "compress", True),
        ("onnxscript", {}, "compress", False),
        ("torchvision", {}, None, False),
        ("torchvision", {"se": {}}, "train", False),
        ("torch-pruning", {}, None, False),
        ("torch-pruning", {"cosine": {}}, None, False),
        ("torch-pruning", {"pruning": {}}, "compress", False),
    ],
)
def test_an_upgrade_changes_the_keys_of_the_stages_that_run_the_package(keys, upgrade, package, tricks, first, latency):
    before = keys(tricks=tricks)
    upgrade(package)
    later = set(ORDER[ORDER.index(first) :]) if first else set()
    assert changed(before, keys(tricks=tricks)) == later | ({"latency"} if latency else set())


def test_another_python_is_another_key(keys, monkeypatch):
    before = keys()
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    assert changed(before, keys()) == {*ORDER, "latency"}


def test_an_upgrade_of_what_no_stage_runs_runs_nothing_again(again, upgrade):
    again()
    for package in NEVER:
        upgrade(package)
    assert again() == list(KNOWN)
    upgrade("timm")
    assert again() == ["latency"]


def test_words_of_the_engine_run_nothing_again(again, edit):
    """Comments, docstrings and blank lines in every file, the texts of errors, and what runs in no stage."""
    again(tricks={"int8": {"images": 32}})
    texts = {
        "trial/training/train.py": ("the training loss was not finite", "the loss became infinite or no number"),
        "toolkit/quantize.py": ("calibration", "calibrating"),
        "study/yaml_file.py": ("line", "row"),
        "trial/measuring/scores.py": ("that are not finite", "of which some are not finite"),
    }
    for path, (old, _) in texts.items():
        assert old in (ENGINE / path).read_text()

    def reworded(path, text):
        if path in texts:
            errors = re.compile(r"(?<=Error\(|erged\()f?\"[^\"\n]*\"")
            old, new = texts[path]
            text = errors.sub(lambda match: match[0].replace(old, new), text)
        text = re.sub(r'^( *)"""', r'\1"""In other words: ', text, count=1, flags=re.MULTILINE)
        return f"# A comment.\n\n{text}\n\n# The end.\n" if not text.startswith("from __future__") else text

    edit(reworded)
    assert again(tricks={"int8": {"images": 32}}) == list(KNOWN)
    edit(
        lambda path, text: (
            text + "\n\nMORE = 1\n" if path.startswith(("study/", "report/", "cli/", "search/")) else text
        )
    )
    assert again(tricks={"int8": {"images": 32}}) == list(KNOWN)


@pytest.mark.parametrize(
    ("path", "old", "new", "known"),
    [
        ("trial/training/train.py", "0.1 ** sum", "0.2 ** sum", {"latency"}),
        ("trial/data/dataset.py", "GREY_LEVEL = 1 / 255", "GREY_LEVEL = 2 / 255", {"latency"}),
        ("contract/trick.py", "placed.append(ready[0])", "placed.append(ready[-1])", {"latency"}),
        ("trial/compression.py", 'bench.stream("compress")', 'bench.stream("other")', {"train", "latency"}),
        ("trial/measuring/export.py", "opset_version=17", "opset_version=18", {"train", "latency"}),
        ("trial/deployment.py", "[:32]", "[:31]", {"train", "compress", "latency"}),
        ("trial/measuring/scores.py", "* 100), float", "* 101), float", {"train", "compress", "deploy", "latency"}),
        ("trial/training/workbench.py", "set_num_threads(self.recipe", "set_num_threads(1 + self.recipe", {"latency"}),
        ("trial/training/teacher.py", "SEED = 0", "SEED = 1", {"latency"}),
        ("trial/training/teacher.py", "copy.deepcopy(net)", "copy.copy(net)", {"latency"}),
        ("trial/training/teacher.py", "requires_grad_(False)", "requires_grad_(True)", {"latency"}),
        ("trial/compression.py", ".cpu().float()", ".cpu().half()", {"train", "latency"}),
        ("trial/compression.py", '{"seconds": 0.0,', '{"seconds": 1.0,', {"train", "latency"}),
        ("trial/compression.py", "return net, seconds[0]", "return net, 0.0", {"train", "latency"}),
        ("trial/deployment.py", "st_size for", "st_blocks for", {"train", "compress", "latency"}),
        ("trial/deployment.py", "{**plain, **graph}", "{**graph, **plain}", {"train", "compress", "latency"}),
        ("trial/deployment.py", 'meta["format"]', '"onnx"', {"train", "compress", "latency"}),
        ("trial/measuring/scores.py", "settings.threads", "1", {"train", "compress", "deploy", "latency"}),
        ("trial/measuring/scores.py", '"f1": self.f1', '"f1": 0.0', {"train", "compress", "deploy", "latency"}),
        (
            "trial/measuring/latency.py",
            "    runner.load",
            "    _ = runner.load",
            {"train", "compress", "deploy", "score"},
        ),
        ("trial/measuring/latency.py", "machine.alone()", "machine.shared()", {"train", "compress", "deploy", "score"}),
        ("trial/latencies.py", "1e3 * settings", "999 * settings", {"train", "compress", "deploy", "score"}),
        ("trial/measuring/stopwatch.py", "MIN_BATCHES = 3", "MIN_BATCHES = 4", {"train", "compress", "deploy"}),
        ("trial/measuring/runner_process.py", "range(2)", "range(3)", {"train", "compress", "deploy"}),
        ("toolkit/quantize.py", "import tempfile", "import tempfile as tempfile", set(KNOWN)),
        ("study/study.py", "from __future__ import annotations", "x = 1", set(KNOWN)),
    ],
)
def test_a_line_of_code_runs_again_the_stages_that_run_it(again, edit, path, old, new, known):
    again()
    edit(replaced(path, old, new))
    assert set(again()) == known


def test_code_of_the_toolkit_runs_again_the_tricks_that_import_it(again, edit):
    again(tricks={"int8": {"images": 32}})
    edit(replaced("toolkit/quantize.py", "import tempfile", "import tempfile as tempfile"))
    assert again(tricks={"int8": {"images": 32}}) == ["train", "compress", "latency"]


def test_a_stage_runs_no_module_that_its_key_does_not_hold(trial, monkeypatch):
    """Every function that a trial calls is noted with the stage that runs then."""
    stage, ran = ["before"], defaultdict(set)

    def noted(self, name):
        stage[0] = name
        log(self, name)

    def follow(frame, event, _):
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(ENGINE):
            ran[stage[0]].add(".".join(file.relative_to(ENGINE).with_suffix("").parts))

    log = StageLog.ran
    monkeypatch.setattr(StageLog, "ran", noted)
    tricks = {"distillation": {}, "mixup": {}, "low_rank": {}, "int8": {"images": 32}}
    before = sys.getprofile()
    sys.setprofile(follow)
    try:
        record = trial(tricks=tricks, net={"widths": [32]})
    finally:
        sys.setprofile(before)
    assert record.status == "finished", record.reason
    assert {"trial.training.train", "trial.training.workbench", "trial.data.dataset"} <= ran["train"]
    assert {"trial.measuring.export", "trial.compression"} <= ran["compress"]
    assert {"trial.deployment", "toolkit.quantize"} <= ran["deploy"]
    assert "trial.measuring.scores" in ran["score"]
    assert "trial.measuring.runner" in ran["latency"]
    held = {"toolkit.quantize", "toolkit.processor"}  # by the identity of a trick that acts
    for name in ("train", "compress", "deploy", "score", "latency"):
        held |= set(code_of(name).modules)
        beside = {module for module in ran[name] if engine_code._stands_by(module)}
        assert ran[name] - held - beside == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_key_holds_no_more_than_the_stage_runs(stage):
    code = code_of(stage)
    below = {"toolkit.exact_int8"} if stage == "score" else set()  # what a quantized file is held against
    assert {module.partition(".")[0] for module in set(code.modules) - below} <= {"contract", "trial"}
    assert not {"ray", "optuna", "pydantic", "yaml", "rich", "sqlalchemy"} & set(code.packages)
    assert "numpy" in code.packages or stage == "deploy"
    assert not any(module.startswith("trial.measuring") for module in code_of("train").modules)


@pytest.mark.parametrize("module", ["trial.net_stages", "trial.stages", "trial.cache", "trial.context"])
def test_what_looks_results_up_computes_none(module):
    """Its code is in no key, so what it did to a net or an array would change no key."""
    assert engine_code._stands_by(module)
    named = {item.module.partition(".")[0] for item in imports(engine_code._tree(module, ENGINE))}
    assert not {"copy", "torch", "numpy", "onnx", "onnxruntime"} & named


def test_who_stands_by_is_there():
    for module in BYSTANDERS:
        importlib.import_module(f"tricksearch.{module}")
