"""The peer of demo: the loop that a user would write around Optuna, in one process, over the same trials.

TPE for two objectives, the space of studies/digits.yaml by hand, one trial after another. Run by demo.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna

from benchmarks.support.common import give_result
from tricksearch.study.study import load_study
from tricksearch.trial.job import Job
from tricksearch.trial.run import run_trial


def tricks_of(trial: optuna.Trial) -> dict[str, dict[str, Any]]:
    """Draw the tricks of a recipe."""
    tricks: dict[str, dict[str, Any]] = {}
    real, pick = trial.suggest_float, trial.suggest_categorical
    schedule = pick("schedule", ["off", "cosine", "onecycle"])
    if schedule == "cosine":
        tricks["cosine"] = {"final": real("final", 0.0, 0.1), "warmup": real("warmup", 0.0, 0.2)}
    if schedule == "onecycle":
        tricks["onecycle"] = {"peak": real("peak", 1.0, 10.0, log=True), "rise": real("rise", 0.1, 0.5)}
    mix = pick("mix", ["off", "mixup", "cutmix"])
    if mix == "mixup":
        tricks["mixup"] = {"alpha": real("mixup_alpha", 0.1, 1.0)}
    if mix == "cutmix":
        tricks["cutmix"] = {"alpha": real("cutmix_alpha", 0.1, 1.0), "p": real("cutmix_p", 0.1, 1.0)}
    if pick("distillation", [False, True]):
        tricks["distillation"] = {"temperature": real("temperature", 1.0, 8.0), "alpha": real("alpha", 0.1, 1.0)}
    if pick("focal", [False, True]):
        tricks["focal"] = {"gamma": real("gamma", 0.5, 5.0)}
    if pick("int8", [False, True]):
        method = pick("method", ["minmax", "entropy", "percentile"])
        tricks["int8"] = {"per_channel": pick("per_channel", [True, False]), "method": method}
    if pick("label_smoothing", [False, True]):
        tricks["label_smoothing"] = {"epsilon": real("epsilon", 0.0, 0.3)}
    if pick("pruning", [False, True]):
        tricks["pruning"] = {
            "ratio": real("ratio", 0.1, 0.8),
            "importance": pick("importance", ["l1", "l2"]),
            "scope": pick("scope", ["local", "global"]),
            "epochs": real("epochs", 0.1, 1.0),
            "lr": real("lr", 0.05, 1.0, log=True),
        }
    if pick("se", [False, True]):
        tricks["se"] = {"reduction": pick("reduction", [4, 8, 16, 32])}
    return tricks


OFF = dict.fromkeys(("distillation", "focal", "int8", "label_smoothing", "pruning", "se"), False)


def main() -> None:
    """Run `n` trials, the plain baseline first."""
    study_file, n = Path(sys.argv[1]), int(sys.argv[2])
    start = time.perf_counter()
    base = load_study(study_file).base_recipe()
    keys: list[str] = []
    finished: list[bool] = []
    with tempfile.TemporaryDirectory(prefix="tricksearch-bench-") as cache:

        def objective(trial: optuna.Trial) -> tuple[float, float]:
            recipe = base.model_copy(update={"tricks": tricks_of(trial)})
            (record,) = run_trial(Job.of(recipe, cache=Path(cache), trial=trial.number))
            keys.append(recipe.key)
            finished.append(record.finished)
            if record.accuracy is None or record.latency_ms is None:
                raise optuna.TrialPruned(record.reason)
            return record.accuracy, record.latency_ms

        search = optuna.create_study(
            directions=["maximize", "minimize"], sampler=optuna.samplers.TPESampler(multivariate=True, seed=0)
        )
        search.enqueue_trial({"schedule": "off", "mix": "off", **OFF})
        search.optimize(objective, n_trials=n)
    give_result(
        {
            "seconds": time.perf_counter() - start,
            "trials": len(keys),
            "distinct": len(set(keys)),
            "finished": sum(finished),
        }
    )


if __name__ == "__main__":
    main()
