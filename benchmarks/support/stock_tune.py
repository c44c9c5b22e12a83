"""The peer of engine_cost: Ray Tune with OptunaSearch as their documentation shows it, on trials that do nothing.

The space is that of the built-in tricks, written flat. With `reuse` it is the documented class API and
`reuse_actors=True` instead of a function. Run by engine_cost; prints whatever Ray prints.
"""

from __future__ import annotations

import os
import random
import sys
import time
from typing import Any

import ray
from ray import tune
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from benchmarks.support.common import give_result

SLEEP = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0  # seconds that a trial takes

SPACE = {
    "schedule": tune.choice(["off", "cosine", "onecycle"]),
    "cosine.final": tune.uniform(0.0, 0.1),
    "cosine.warmup": tune.uniform(0.0, 0.2),
    "onecycle.peak": tune.loguniform(1.0, 10.0),
    "onecycle.rise": tune.uniform(0.1, 0.5),
    "mix": tune.choice(["off", "mixup", "cutmix"]),
    "mixup.alpha": tune.uniform(0.1, 1.0),
    "cutmix.alpha": tune.uniform(0.1, 1.0),
    "cutmix.p": tune.uniform(0.1, 1.0),
    "distillation": tune.choice([False, True]),
    "distillation.temperature": tune.uniform(1.0, 8.0),
    "distillation.alpha": tune.uniform(0.1, 1.0),
    "focal": tune.choice([False, True]),
    "focal.gamma": tune.uniform(0.5, 5.0),
    "int8": tune.choice([False, True]),
    "int8.per_channel": tune.choice([False, True]),
    "int8.method": tune.choice(["minmax", "entropy", "percentile"]),
    "label_smoothing": tune.choice([False, True]),
    "label_smoothing.epsilon": tune.uniform(0.0, 0.3),
    "pruning": tune.choice([False, True]),
    "pruning.ratio": tune.uniform(0.1, 0.8),
    "pruning.importance": tune.choice(["l1", "l2"]),
    "pruning.scope": tune.choice(["local", "global"]),
    "pruning.epochs": tune.uniform(0.1, 1.0),
    "pruning.lr": tune.loguniform(0.05, 1.0),
    "se": tune.choice([False, True]),
    "se.reduction": tune.choice([4, 8, 16, 32]),
}


def no_op() -> dict[str, float]:
    """What a trial would have measured, and when."""
    time.sleep(SLEEP)
    return {"accuracy": random.uniform(90, 99), "latency_ms": random.uniform(0.1, 1.0), "at": time.time()}


def function(config: dict[str, Any]) -> None:
    """The function API."""
    tune.report(no_op())


class Reused(tune.Trainable):  # type: ignore[misc]  # Ray's classes are not typed
    """The class API, which can be reused for the next trial."""

    def setup(self, config: dict[str, Any]) -> None:
        """Nothing to set up."""

    def step(self) -> dict[str, Any]:
        """One trial."""
        return {**no_op(), "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial."""
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load."""


def main() -> None:
    """Run `n` trials, two at a time."""
    n, reuse = int(sys.argv[1]), sys.argv[2] == "reuse"
    start = time.perf_counter()
    ray.init(address="local", num_cpus=2)  # never a cluster that happens to run here
    search = OptunaSearch(metric=["accuracy", "latency_ms"], mode=["max", "min"], seed=0)
    tuner = tune.Tuner(
        Reused if reuse else function,
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            search_alg=ConcurrencyLimiter(search, max_concurrent=2), num_samples=n, reuse_actors=reuse or None
        ),
        run_config=tune.RunConfig(name="stock", storage_path=os.path.dirname(os.environ["BENCHMARK_RESULT"])),
    )
    results = tuner.fit()
    ray.shutdown()
    seconds = time.perf_counter() - start
    times = sorted(result.metrics["at"] for result in results if not result.error)
    give_result({"seconds": seconds, "times": times})


if __name__ == "__main__":
    main()
