"""ONNX Runtime on a GPU: run the graph by the CUDA or the TensorRT provider.

Paper: none; https://onnxruntime.ai/docs/execution-providers, release 1.31.
Use when: the file is served from a GPU of NVIDIA; TensorRT for the lowest latency.
Avoid when: batches are so small that copying and launching outweigh the computing. TensorRT builds an engine for
minutes when the file is loaded.
Cost: nothing in training; a GPU when deployed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from tricksearch import Choice, Predictor, Runtime, Trick, Workbench

PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


def providers_for(name: str) -> list[str]:
    """The providers that ONNX Runtime asks in turn for each operator.

    >>> providers_for("tensorrt")
    ['TensorrtExecutionProvider', 'CUDAExecutionProvider', 'CPUExecutionProvider']
    """
    return [*dict.fromkeys((PROVIDERS[name], PROVIDERS["cuda"])), "CPUExecutionProvider"]


def load_onnx_runtime_gpu(path: str, threads: int, precision: str, providers: list[str]) -> Predictor:
    """The graph in ONNX Runtime, by the first of the providers. Raises RuntimeError where that one does not start."""
    import os

    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # fp32 means float32: convolutions would round to ten bits of fraction
    import onnxruntime

    onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=providers)
    started = session.get_providers()
    if started[0] != providers[0]:  # ONNX Runtime goes on with the next one, in silence
        raise RuntimeError(f"{providers[0]} does not start on this machine; left are {', '.join(started)}")
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


@dataclass(frozen=True)
class OnnxRuntimeGpu(Trick):
    """Runs the ONNX graph on the GPU; images come from, and logits go back to, the main memory."""

    claims = "runtime"
    after = ("precision",)

    provider: Annotated[str, Choice(*PROVIDERS)] = "cuda"

    def runtime(self, runtime: Runtime, bench: Workbench) -> Runtime:
        """ONNX Runtime on the GPU. INT8 is left out: neither provider takes unsigned 8-bit activations."""
        return replace(
            runtime,
            name=f"ONNX Runtime, {self.provider}",
            load=load_onnx_runtime_gpu,
            packages=("onnxruntime-gpu",),
            format="onnx",
            precisions=("fp32", "fp16"),
            options={"providers": providers_for(self.provider)},
        )

    @classmethod
    def unavailable(cls) -> str | None:
        """It takes another build of ONNX Runtime, and a GPU."""
        import onnxruntime

        if not set(PROVIDERS.values()) & set(onnxruntime.get_available_providers()):
            return "this ONNX Runtime has no GPU provider: pip install --force-reinstall --no-deps onnxruntime-gpu"
        import torch

        return None if torch.cuda.is_available() else "there is no GPU that CUDA can use"
