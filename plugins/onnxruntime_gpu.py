"""ONNX Runtime on a GPU: run the graph by the CUDA or the TensorRT provider.

Paper: none; https://onnxruntime.ai/docs/execution-providers, release 1.31.
Use when: the file is served from a GPU of NVIDIA; TensorRT for the lowest latency.
Avoid when: batches are so small that copying and launching outweigh the computing. TensorRT builds an engine for
minutes when the file is loaded.
Cost: nothing in training; a GPU when deployed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from tricksearch import Choice, Predictor, Runtime, Trick, Workbench
from tricksearch.toolkit.cuda import why_no_gpu

if TYPE_CHECKING:
    import numpy as np

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
    import numpy
    import onnxruntime

    onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=providers)
    started = session.get_providers()
    if started[0] != providers[0]:  # ONNX Runtime silently falls back to the next one
        raise RuntimeError(f"{providers[0]} does not start on this machine; left are {', '.join(started)}")
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name

    def predict(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return session.run(None, {name: images})[0]  # type: ignore[no-any-return]

    def on_device(images: np.ndarray[Any, Any]) -> Any:
        """For the stopwatch, which has PyTorch: a session of its own on PyTorch's current stream."""
        import torch

        stream = str(torch.cuda.current_stream().cuda_stream)
        timed = onnxruntime.InferenceSession(
            path, options, providers=[(providers[0], {"user_compute_stream": stream}), *providers[1:]]
        )
        used = timed.get_provider_options().get(providers[0], {}).get("user_compute_stream")
        if used != stream:  # the events would see nothing of the work
            raise RuntimeError(f"{providers[0]} was given the stream {stream} and took {used}")
        inputs = torch.from_numpy(images).to("cuda")
        logits = torch.empty(predict(images).shape, device="cuda")
        binding, device = timed.io_binding(), torch.cuda.current_device()
        binding.bind_input(name, "cuda", device, numpy.float32, tuple(inputs.shape), inputs.data_ptr())
        binding.bind_output(output, "cuda", device, numpy.float32, tuple(logits.shape), logits.data_ptr())
        run = onnxruntime.RunOptions()
        run.add_run_config_entry("disable_synchronize_execution_providers", "1")  # else each run waits for the GPU
        return lambda kept=(inputs, logits): timed.run_with_iobinding(binding, run)

    if providers[0] == "CUDAExecutionProvider":  # TensorRT would build its engine once more, for minutes
        predict.on_device = on_device  # type: ignore[attr-defined]
    return predict


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
            device="cuda",
        )

    @classmethod
    def unavailable(cls) -> str | None:
        """It takes another build of ONNX Runtime, and a GPU."""
        import onnxruntime

        if not set(PROVIDERS.values()) & set(onnxruntime.get_available_providers()):
            return "this ONNX Runtime has no GPU provider: pip install --force-reinstall --no-deps onnxruntime-gpu"
        return why_no_gpu()
