"""PyTorch on CUDA: run the net on a GPU in PyTorch, operator by operator or as one CUDA graph that is replayed.

Paper: Paszke et al. 2019, arXiv 1912.01703; the graphs, https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs.
Use when: PyTorch is the service's runtime anyway; replay where batches are small and starting the kernels takes longer
than they do.
Avoid when: batches come in many sizes: replay keeps a graph, with its memory, for each of them. Load such a file only
from where you trust: torch.export.load falls back to pickle, which can run any code.
Cost: nothing in training, seconds at the export; when deployed a GPU, a library of gigabytes and a slow start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from tricksearch import Choice, Deployable, NotApplicable, Predictor, Runtime, Trick, Workbench
from tricksearch.toolkit.cuda import why_no_gpu
from tricksearch.toolkit.program import program_of

if TYPE_CHECKING:
    import numpy as np

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def runtime_name(replay: bool) -> str:
    """How a person names the two ways to run it.

    >>> runtime_name(replay=True)
    'PyTorch on CUDA, graph replay'
    """
    return f"PyTorch on CUDA, {'graph replay' if replay else 'eager'}"


def load_torch_cuda(path: str, threads: int, precision: str, replay: bool, device: str = "cuda") -> Predictor:
    """The program on the GPU; images come from, and logits go back to, the main memory.

    With `replay` it is captured for each batch size at its first batch, behind a few runs on a side stream in which
    libraries take their memory and choose their kernels; a call then copies into the graph's input and replays it.
    """
    import os

    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # fp32 means float32: convolutions would round to ten bits of fraction
    import torch
    from torch.export.passes import move_to_device_pass

    torch.set_num_threads(threads)
    net = move_to_device_pass(torch.export.load(path), device).module()
    captured: dict[int, Any] = {}

    def graph_of(images: np.ndarray[Any, Any]) -> Any:
        """The graph of this batch size with its input and its output; the images are in the input."""
        if len(images) not in captured:
            inputs = torch.from_numpy(images).to(device)
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    net(inputs)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                outputs = net(inputs)
            captured[len(images)] = graph, inputs, outputs
        graph, inputs, outputs = captured[len(images)]
        inputs.copy_(torch.from_numpy(images))
        return graph, outputs

    @torch.inference_mode()
    def predict(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if not replay:
            return net(torch.from_numpy(images).to(device)).cpu().numpy()  # type: ignore[no-any-return]
        graph, outputs = graph_of(images)
        graph.replay()
        return outputs.cpu().numpy()  # type: ignore[no-any-return]

    @torch.inference_mode()
    def on_device(images: np.ndarray[Any, Any]) -> Any:
        if replay:
            return graph_of(images)[0].replay
        inputs = torch.from_numpy(images).to(device)
        return torch.inference_mode()(lambda: net(inputs))

    predict.on_device = on_device  # type: ignore[attr-defined]
    return predict


@dataclass(frozen=True)
class TorchCuda(Trick):
    """Writes the net as a torch.export program and runs it on the GPU, eagerly or as a CUDA graph."""

    claims = "runtime"
    after = ("precision",)
    branches = False

    replay: Annotated[bool, Choice(False, True)] = False  # capture a CUDA graph for each batch size, and replay it

    def deploy(self, deployable: Deployable, bench: Workbench) -> Deployable:
        """Write the program. Raises NotApplicable for INT8, which changed the graph and not the net."""
        import torch

        if deployable.precision not in DTYPES:
            raise NotApplicable(f"PyTorch is given the net, and {deployable.precision} is a change of the ONNX graph")
        target = bench.folder / f"{deployable.path.stem}.pt2"
        program = program_of(bench.net(), bench.input_shape, getattr(torch, DTYPES[deployable.precision]))
        torch.export.save(program, target)
        return replace(deployable, path=target, beside=(), format="torch.export")

    def runtime(self, runtime: Runtime, bench: Workbench) -> Runtime:
        """PyTorch on the first GPU."""
        return Runtime(
            runtime_name(self.replay),
            load_torch_cuda,
            packages=("torch",),
            format="torch.export",
            precisions=tuple(DTYPES),
            options={"replay": self.replay},
            device="cuda",
        )

    @classmethod
    def unavailable(cls) -> str | None:
        """It takes a GPU."""
        return why_no_gpu()
