"""The measures: what is taken of a variant. One entry says all that the rest of the package knows of a measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A measured quantity: its unit, which way is better, its names, and how it behaves."""

    unit: str  # "" for a plain count
    maximize: bool
    title: str  # heads a column or an axis
    noun: str  # in a sentence
    digits: int  # behind the decimal point, where it is printed
    simulated: float  # its value in simulated trials whose settings leave it out
    counted: bool = False  # counted on the graph rather than measured: it has no noise
    whole: bool = False  # a whole number, also as a mean
    foreseen: bool = False  # decided by the shape of the graph, so an untrained net has it too
    of_machine: bool = False  # comparable between equal machines alone
    timed: bool = False  # by the stopwatch: its error is that of the timing, which records may share
    listed: bool = True  # a column of the page's table of trials, which every objective is anyway

    @property
    def percent(self) -> bool:
        """Whether effects on it are given in points; on all others they are in percent of the value."""
        return self.unit == "%"

    def text(self, value: float | None) -> str:
        """A value with its unit, or a dash.

        >>> MEASURES["latency_ms"].text(1234.5), MEASURES["params"].text(1e6), MEASURES["f1"].text(None)
        ('1,234.500 ms', '1,000,000', '-')
        """
        return "-" if value is None else f"{value:,.{self.digits}f} {self.unit}".rstrip()

    def difference(self, value: float | None, baseline: float | None) -> str:
        """How a value compares with the baseline's: points for percentages, else a factor; "" where one is missing.

        >>> MEASURES["accuracy"].difference(91.5, 90.0), MEASURES["latency_ms"].difference(0.5, 1.0)
        ('+1.50', 'x 0.50')
        """
        if value is None or not baseline:
            return ""
        return f"{value - baseline:+.2f}" if self.percent else f"x {value / baseline:.2f}"


# Any of them can be an objective or a constraint: every finished trial has it. `device_ms` is none of them: no CPU
# runtime has one, the plain baseline's included, and a trial without a value for an objective counts as failed.
MEASURES: Mapping[str, Measure] = {
    "accuracy": Measure("%", True, "top-1 accuracy", "accuracy", 2, 75.0),
    "f1": Measure("%", True, "macro F1", "macro F1", 2, 75.0),
    "latency_ms": Measure(
        "ms", False, "latency, median", "latency", 3, 1.0, foreseen=True, of_machine=True, timed=True
    ),
    "latency_ratio": Measure(
        "x",
        False,
        "latency / baseline's",
        "latency ratio",
        3,
        1.0,
        foreseen=True,
        of_machine=True,
        timed=True,
        listed=False,
    ),
    "latency_p95_ms": Measure(
        "ms", False, "latency, p95", "p95 latency", 3, 1.1, foreseen=True, of_machine=True, timed=True
    ),
    "latency_p99_ms": Measure(
        "ms", False, "latency, p99", "p99 latency", 3, 1.2, foreseen=True, of_machine=True, timed=True, listed=False
    ),
    "throughput": Measure(
        "images/s",
        True,
        "throughput",
        "throughput",
        1,
        1000.0,
        foreseen=True,
        of_machine=True,
        timed=True,
        listed=False,
    ),
    "memory_bytes": Measure(
        "bytes", False, "peak memory", "memory", 0, 64e6, whole=True, foreseen=True, of_machine=True, listed=False
    ),
    "params": Measure("", False, "parameters", "parameters", 0, 1e6, counted=True, whole=True, foreseen=True),
    "macs": Measure(
        "",
        False,
        "multiply-accumulates",
        "multiply-accumulates",
        0,
        1e7,
        counted=True,
        whole=True,
        foreseen=True,
        listed=False,
    ),
    "file_bytes": Measure("bytes", False, "file size", "file size", 0, 4e6, counted=True, whole=True, foreseen=True),
    "train_seconds": Measure("s", False, "training time", "training time", 2, 60.0, of_machine=True),
}
