"""tricksearch: which training and deployment tricks are worth it for a model, a data set and a latency budget."""

import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime reports its use on Linux unless it is told not to before its first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from tricksearch.contract import (
    Batch,
    BatchTransform,
    BuildOptimizer,
    Choice,
    Deployable,
    Float,
    Images,
    InputError,
    Int,
    Loss,
    Net,
    NotApplicable,
    Predictor,
    Rates,
    Runtime,
    Schedule,
    TrialError,
    Trick,
    Weights,
    Workbench,
)

if TYPE_CHECKING:
    from tricksearch.api import Run, open, run
    from tricksearch.search.observer import Observer

__all__ = [
    "Batch",
    "BatchTransform",
    "BuildOptimizer",
    "Choice",
    "Deployable",
    "Float",
    "Images",
    "InputError",
    "Int",
    "Loss",
    "Net",
    "NotApplicable",
    "Observer",
    "Predictor",
    "Rates",
    "Run",
    "Runtime",
    "Schedule",
    "TrialError",
    "Trick",
    "Weights",
    "Workbench",
    "open",
    "run",
]

__version__ = "0.1.0"

_LAZY = {"Run": "api", "open": "api", "run": "api", "Observer": "search.observer"}


def __getattr__(name: str) -> Any:
    """Running and reading studies is imported when it is first used: a trick needs none of it."""
    if name not in _LAZY:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
