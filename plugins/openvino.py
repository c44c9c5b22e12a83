"""OpenVINO: run the file in Intel's inference engine, which compiles the whole graph for the CPU at hand.

Paper: none; https://docs.openvino.ai, release 2026.
Use when: the file is served from an x86 or ARM CPU; with INT8 it is often the fastest of the runtimes there.
Avoid when: the service may not take on another library of about 150 MB, or the file has to run on a GPU of NVIDIA.
Cost: nothing in training; seconds at the export, and again when the file is loaded.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tricksearch import Deployable, Predictor, Runtime, Trick, Workbench

CAPABILITY = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", "quantized": "INT8"}


def precisions_of(capabilities: Iterable[str]) -> tuple[str, ...]:
    """The precisions behind what a device of OpenVINO lists as OPTIMIZATION_CAPABILITIES.

    >>> precisions_of(["BF16", "FP32", "INT8", "BIN", "EXPORT_IMPORT"])
    ('fp32', 'bf16', 'quantized')
    """
    listed = set(capabilities)
    return tuple(precision for precision, name in CAPABILITY.items() if name in listed)


def load_openvino(path: str, threads: int, precision: str) -> Predictor:
    """The graph compiled for the CPU, one stream of `threads` threads, in exactly this precision."""
    import sys

    # `import openvino` reports itself to its maker where this package is found; where it is not, a stub stands in.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    wanted = {"bf16": "bf16", "fp16": "f16"}.get(precision, "f32")
    options = {
        "INFERENCE_PRECISION_HINT": wanted,  # left alone, a CPU with bf16 instructions computes float32 graphs in bf16
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # every process would pin its threads to the same cores
    }
    model = openvino.Core().compile_model(path, "CPU", options)
    for option, value in (("INFERENCE_PRECISION_HINT", wanted), ("INFERENCE_NUM_THREADS", threads)):
        used = model.get_property(option)
        used = used.to_string() if isinstance(used, openvino.Type) else used
        if used != value:
            raise RuntimeError(f"OpenVINO was asked for {option} = {value} and took {used}")
    return lambda images: model(images)[0]


@dataclass(frozen=True)
class OpenVino(Trick):
    """Writes the graph as OpenVINO IR, with all 32 bits of its weights, and runs it there."""

    claims = "runtime"
    after = ("precision",)

    def deploy(self, deployable: Deployable, bench: Workbench) -> Deployable:
        """Convert the ONNX graph once, here: the runtime then needs no importer, and loads in less time."""
        openvino = _openvino()
        target = bench.folder / f"{deployable.path.stem}.xml"
        openvino.save_model(openvino.convert_model(deployable.path), target, compress_to_fp16=False)
        return replace(deployable, path=target, beside=(target.with_suffix(".bin"),), format="openvino")

    def runtime(self, runtime: Runtime, bench: Workbench) -> Runtime:
        """OpenVINO on the CPU, in the precisions that this CPU has."""
        return Runtime(
            "OpenVINO, CPU", load_openvino, packages=("openvino",), format="openvino", precisions=_cpu_precisions()
        )

    @classmethod
    def unavailable(cls) -> str | None:
        """OpenVINO is an extra."""
        if importlib.util.find_spec("openvino") is None:
            return "OpenVINO is not installed: pip install 'tricksearch[openvino]'"
        return None


def _openvino() -> Any:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as in `load_openvino`
    import openvino

    return openvino


@functools.cache
def _cpu_precisions() -> tuple[str, ...]:
    return precisions_of(_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
