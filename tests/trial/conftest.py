"""Small recipes over real digits, and tricks of the tests' own. Test files cannot import this one: all are fixtures."""

import itertools
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tricksearch
from tests.trial.runtimes import PIXELS
from tricksearch.contract import Deployable, Registry, discover
from tricksearch.records.recipe import Recipe
from tricksearch.records.record import Record
from tricksearch.records.settings import LatencySettings
from tricksearch.trial import engine_code
from tricksearch.trial.cache import Cache
from tricksearch.trial.context import JobContext
from tricksearch.trial.data import load_data
from tricksearch.trial.job import Job
from tricksearch.trial.keys import latency_key, plain_net, score_key, stage_keys
from tricksearch.trial.measuring.machine_lock import Machine
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME
from tricksearch.trial.measuring.stopwatch import Timing
from tricksearch.trial.run import run_trial
from tricksearch.trial.stages import Stages
from tricksearch.trial.training.workbench import Bench

ENGINE = Path(tricksearch.__file__).parent
PLUGIN = '''"""A trick of the tests.

Paper: none.
Use when: testing.
Avoid when: not testing.
Cost: none.
"""
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from tricksearch import Batch, Choice, Deployable, Float, Images, Int, Net, NotApplicable, Rates, Runtime
from tricksearch import TrialError, Trick

HERE = Path(__file__).parent
SEEN = []


@dataclass(frozen=True)
class Own(Trick):
'''


@pytest.fixture
def tricks(tmp_path: Path) -> Callable[..., Path]:
    """Write tricks, a body of a class each, by name; returns their folder.

    What stands below a line `# behind the class` goes to the module.
    """
    folder = tmp_path / "own_tricks"

    def write(**bodies: str) -> Path:
        folder.mkdir(exist_ok=True)
        for name, body in bodies.items():
            inside, _, behind = body.partition("# behind the class\n")
            lines = inside.strip("\n").splitlines()
            margin = len(lines[0]) - len(lines[0].lstrip())
            text = "".join(f"    {line[margin:]}\n" for line in lines)
            (folder / f"{name}.py").write_text(f"{PLUGIN}{text}\n\n{behind}")
        return folder

    return write


@pytest.fixture
def seen() -> Callable[[Registry, str], list]:
    """What a trick of the tests wrote into its SEEN."""
    return lambda registry, name: sys.modules[registry[name].__module__].SEEN


def tiny_recipe(**keys) -> Recipe:
    """40 digits, one block of 8 channels, one epoch of two steps; keyword arguments are merged into it."""
    base = {
        "data": {"name": "digits", "train_images": 40, "validation_images": 60},
        "net": {"widths": [8], "blocks": 1},
        "train": {"epochs": 1, "batch_size": 16},
        "latency": {"seconds": 0.05, "precision": 0.5, "block_seconds": 0.001},
    }
    for key, value in keys.items():
        merge = isinstance(value, dict) and key in base
        base[key] = base[key] | value if merge else value
    return Recipe.model_validate(base)


@pytest.fixture(name="tiny_recipe")
def _tiny_recipe() -> Callable[..., Recipe]:
    return tiny_recipe


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this test's trials."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def numbered_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopwatch whose n-th latency is n ms, on a machine that held still: no two are alike, and each is kept."""
    numbers = itertools.count(1)

    def load(runner: Runner, files: Sequence[object], baseline: Deployable, settings: LatencySettings) -> None:
        runner.files_to_time = len(files)

    def time(runner: Runner, settings: LatencySettings, fastest_ms: float | None = None) -> list[Timing]:
        return [steady_timing(float(next(numbers)), settings) for _ in range(runner.files_to_time)]

    monkeypatch.setattr(Runner, "load_to_time", load)
    monkeypatch.setattr(Runner, "time", time)


def steady_timing(milliseconds: float, settings: LatencySettings, **others: Any) -> Timing:
    """A timing of so many ms beside a plain net of 1 ms, known to a few percent."""
    timing = Timing(
        copies=tuple(np.log(milliseconds) + np.array([-0.01, 0.0, 0.01])),
        ms=milliseconds,
        yardstick_ms=1.0,
        baseline_ms=1.0,
        fastest_ms=1.0,
        p95=milliseconds,
        p99=milliseconds,
        runs=15,
        rounds=9,
        disturbed=0.0,
        seconds=0.05,
        throughput={str(size): size * 1e3 / milliseconds for size in settings.batches},
        memory_bytes=2**20,
    )
    return replace(timing, **others)


@pytest.fixture(name="steady_timing")
def _steady_timing() -> Callable[..., Timing]:
    return steady_timing


@pytest.fixture
def make_bench(tmp_path: Path):
    """A workbench of a tiny recipe; `folders` are its plugins."""
    machines, kept = [], []  # a bench needs its stages for a teacher
    runner = Runner(np.zeros((1, 1, 8, 8), np.uint8))

    def make(recipe: Recipe | None = None, seed: int = 0, registry: Registry | None = None) -> Bench:
        recipe = recipe or tiny_recipe()
        machines.append(Machine(tmp_path))
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        registry = discover(recipe.plugins) if registry is None else registry
        data = load_data(recipe.data)
        context = JobContext(registry, data, Cache(tmp_path / "cache"), machines[-1], runner)
        kept.append(Stages(recipe, seed, context, folder))
        return kept[-1].bench

    yield make
    runner.close()
    for machine in machines:
        machine.close()


@pytest.fixture
def runner() -> Iterator[Runner]:
    """A runner of a few small images."""
    made = Runner(PIXELS)
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Deployable:
    """An empty file, for runtimes that do not read theirs."""
    path = tmp_path / "deployable"
    path.touch()
    return Deployable(path)


@pytest.fixture
def trained(make_bench) -> Callable[..., dict[str, torch.Tensor]]:
    """The weights after the training of a recipe."""

    def run(*args, **options) -> dict[str, torch.Tensor]:
        bench = make_bench(*args, **options)
        return {name: value.clone() for name, value in bench.train(bench.build_net()).state_dict().items()}

    return run


@pytest.fixture
def same() -> Callable[[dict, dict], bool]:
    """Whether two nets' weights are the same, bit for bit."""
    return lambda first, second: (
        first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    )


@pytest.fixture
def trial(scratch: Path, tmp_path: Path) -> Callable[..., Record]:
    """Run a trial of a tiny recipe, nothing of it known; an error comes out as its record says."""
    runs = itertools.count()

    def run(seed: int = 0, reraise: bool = False, cache: Path | None = None, **keys) -> Record:
        folder = cache or tmp_path / f"cache{next(runs)}"
        (record,) = run_trial(Job.of(tiny_recipe(**keys), seed, cache=folder), reraise=(Exception,) if reraise else ())
        return record

    return run


@pytest.fixture
def keys(make_bench, tiny_recipe):
    """The keys of a recipe by their stages, the latency's too."""

    def of(runtime=ONNX_RUNTIME, **parts):
        recipe = tiny_recipe(**parts)
        bench = make_bench(recipe)
        registry, data = discover(recipe.plugins), load_data(recipe.data)
        made = stage_keys(recipe, 0, bench.tricks, data, bench.precision, registry, test=True)
        graph = Deployable(Path("model.onnx"))
        plain = plain_net(recipe, (1, 8, 8), len(data.classes))
        return vars(made) | {
            "score": score_key(made.score, runtime),
            "test": score_key(made.test, runtime),
            "latency": latency_key(recipe, graph, "skeleton", bench.tricks, runtime, plain),
        }

    return of


@pytest.fixture
def edit(tmp_path, monkeypatch):
    """Hash a copy of the package from now on, in which `change` was made to the text of each file, by its path."""
    copies = iter(range(100))

    def to(change):
        copy = tmp_path / f"engine{next(copies)}" / ENGINE.name
        shutil.copytree(ENGINE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for file in sorted(copy.rglob("*.py")):
            text = file.read_text()
            new = change(file.relative_to(copy).as_posix(), text)
            if new != text:
                file.write_text(new)
        monkeypatch.setattr(engine_code, "ROOT", copy)

    return to
