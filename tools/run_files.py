"""The columns of the tables that a run leaves, and the measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tools.markdown import table
from tricksearch.records.measures import MEASURES
from tricksearch.records.record import Record, columns
from tricksearch.verdicts.table import COLUMNS as VERDICT_COLUMNS
from tricksearch.verdicts.words import COMPARISONS

RECORD: Mapping[str, str] = {
    "trial": "number of the training; 0 is the plain baseline where the search or the screen began with it",
    "variant": "0 for the recipe that was proposed; the others were made of the same trained net",
    "phase": "`baseline`, `screen`, `fidelity` (the screen at its short budget), `search`, `ablate` or `confirm`",
    "status": "`finished`, `failed`, `diverged`, `out_of_memory`, `rejected` (it breaks a constraint, as was "
    "seen before training) or `stopped` (early)",
    "reason": "why there is no result; empty where there is one",
    "seed": "of the training",
    "recipe": "JSON: every setting and every trick with its values",
    "throughputs": "JSON: images a second by batch size",
    "validation_images": "n behind `accuracy` and `f1`",
    "f1_error": "standard error of `f1` from the choice of these images alone, points",
    "test_accuracy": "percent of the test images; only in records of the phase `confirm`",
    "test_images": "n behind `test_accuracy`",
    "latency_runs": "n behind the latency: calls that were timed",
    "precision": "of the deployable's arithmetic: `fp32`, `bf16`, `fp16` or `quantized`",
    "form": "which form of the deployable was chosen on this processor and why, where a trick had a choice",
    "latency_low_ms": "lower end of the 95 % interval of `latency_ms`: the error of its timing alone",
    "latency_high_ms": "upper end of the same",
    "latency_rounds": "rounds that count: a block of calls beside one of the plain net's file",
    "latency_disturbed": "share of all rounds in which other programs had the processor; above 0.5, CPU times were "
    "compared",
    "latency_note": "what the stopwatch could not tell, or what disturbed it",
    "graph": "a mark of what was timed: records that share it have one graph, called in one way",
    "timing": "JSON: the moment of the timing, in ms: `ms` of the file, `baseline_ms` of the plain net's, "
    "`yardstick_ms` of what it was timed in turn with, `fastest_ms` of that at its fastest, `refers_to_ms` of that at "
    "the moment that `latency_ms` refers to",
    "device_ms": "median time of a run on a GPU by its own events, copies left out; empty on a CPU",
    "device_p95_ms": "the 95th percentile of the same",
    "started": "ISO 8601, UTC",
    "wall_seconds": "the whole trial, waiting included",
    "hardware": "JSON: processor, cores, memory, GPUs, system",
    "versions": "JSON: the packages that were used",
    "keys": "JSON: the keys that the stages of its model have in the cache, as the process that made it gave them",
    "reused": "JSON: the stages that came from the cache and were not run",
    "effective": "JSON: what the training was seen to do, such as its steps and learning rates",
    "spent_seconds": "seconds of training that this record cost; 0 where its net was known",
    "spent_epochs": "the same in epochs",
    "runs": "1 in records.parquet; in front.csv the seeds that the measures are the mean of",
    "accuracy_sd": "standard deviation of accuracy over these runs, percent; empty for one run",
}
VERDICT: Mapping[str, str] = {
    "comparison": "what is compared: see [comparisons](verdicts.md#comparisons)",
    "trick": "its name; two names with a plus for an interaction or a pair, a record's id for a confirmed recipe",
    "measure": "which measure the row is about",
    "verdict": "`helps`, `hurts`, `equivalent` or `undecided`",
    "effect": "the estimate, in `unit`; the sign is that of the measure's change, not of its merit",
    "low": "lower end of the interval, adjusted over all tricks of this comparison",
    "high": "upper end of the same",
    "unit": "`points` for accuracy and f1, `%` of the value for all others",
    "n": "runs behind the effect, of both sides",
    "margin": "the smallest difference that matters, from the study",
    "low_alone": "lower end of the interval of this effect by itself, not adjusted",
    "high_alone": "upper end of the same",
    "p": "of no effect, two-sided, not adjusted",
    "p_adjusted": "the same, adjusted over all tricks of this comparison",
    "power": "the chance to show an effect as large as the margin, with this n and this noise",
    "more": "runs of the whole design that are missing for the power asked for",
    "more_for": "what these could show: `difference`, or `equivalence` where the trick does nothing",
    "simulated": "whether nothing was trained",
    "why": "where there is no interval: why, and what to change",
}


def record_columns() -> str:
    """The columns of records.parquet in their order."""
    kinds = {field.name: str(field.type) for field in dataclasses.fields(Record)}
    first = ("`id`", "text", "how a person names it: the trial's number, and behind a dot the variant's")
    return table(("column", "type", "what it is"), [first, *(_column(name, kinds) for name in columns())])


def _column(name: str, kinds: Mapping[str, str]) -> tuple[str, str, str]:
    if name in MEASURES:
        measure = MEASURES[name]
        unit = f", {measure.unit}" if measure.unit else ""
        return f"`{name}`", "whole number" if measure.whole else "number", f"{measure.title}{unit}"
    kind = kinds[name]
    words = (
        "text" if kind.startswith(("str", "dict", "list")) else "whole number" if kind.startswith("int") else "number"
    )
    return f"`{name}`", words, RECORD[name]


def verdict_columns() -> str:
    """The columns of verdicts.csv in their order."""
    return table(("column", "what it is"), [(f"`{name}`", VERDICT[name]) for name in VERDICT_COLUMNS])


def comparisons() -> str:
    """What the effects of each comparison compare."""
    return table(("`comparison`", "what it compares"), [(f"`{name}`", what) for name, (_, what) in COMPARISONS.items()])


def measures() -> str:
    """Every measure: its unit, which way is better, and how it behaves."""
    rows = []
    for name, measure in MEASURES.items():
        better = "more" if measure.maximize else "less"
        how = "counted" if measure.counted else "measured"
        rows.append((f"`{name}`", measure.title, measure.unit or "-", better, how, "yes" if measure.foreseen else "no"))
    return table(("name", "what it is", "unit", "better", "how", "known before training"), rows)
