"""tricksearch: which training and deployment tricks are worth it for a model, a data set and a latency budget."""

import os

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

__all__ = [
    "Batch",
    "BatchTransform",
    "BuildOptimizer",
    "Choice",
    "Deployable",
    "Float",
    "Images",
    "Int",
    "Loss",
    "Net",
    "NotApplicable",
    "Predictor",
    "Rates",
    "Runtime",
    "Schedule",
    "TrialError",
    "Trick",
    "Weights",
    "Workbench",
]

__version__ = "0.1.0"
