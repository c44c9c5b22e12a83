"""The things that hooks take and return, and the workbench that they may ask.

Images are float32 in [0, 1], shape (N, C, H, W), on `bench.device`; normalisation is the net's first layer, so
no hook needs to know a data set's mean. Targets are class probabilities, shape (N, K), each row summing to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tricksearch.contract.domains import Json

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn
    from torch.optim import Optimizer


@dataclass(frozen=True)
class Images:
    """A split of a data set: pixels uint8 (N, C, H, W), labels int64 (N,), and the number of classes K."""

    pixels: Tensor
    labels: Tensor
    num_classes: int

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Batch:
    """Images (N, C, H, W) in [0, 1] and targets (N, K) that the net is trained on in one step."""

    images: Tensor
    targets: Tensor


class Rates(NamedTuple):
    """The learning rate as a multiple of the one that the optimizer was made with; the momentum, None to leave it."""

    lr: float
    momentum: float | None = None


BatchTransform = Callable[[Batch], Batch]
Loss = Callable[["Tensor", Batch], "Tensor"]  # logits (N, K) and their batch -> a scalar
BuildOptimizer = Callable[["nn.Module"], "Optimizer"]
Schedule = Callable[[float], Rates]  # progress of the training in [0, 1) -> rates


class Weights(Protocol):
    """What becomes of the weights: plain training keeps the last ones; EMA and SWA average them."""

    def update(self, net: nn.Module) -> None:
        """Called after every optimizer step."""

    def final(self, net: nn.Module) -> nn.Module:
        """The net to go on with when the training has ended."""


@dataclass(frozen=True)
class Deployable:
    """What would ship: a file, with the files `beside` it, that takes images (N, C, H, W) in [0, 1] and gives logits.

    The engine exports an ONNX graph of float32; a deploy hook may write another file from it, or from the net.
    """

    path: Path
    beside: tuple[Path, ...] = ()  # in the folder of `path`
    format: str = "onnx"  # what a runtime must be able to read
    precision: str = "fp32"  # of the arithmetic: one of PRECISIONS
    input: str = "images"  # name of the graph's input
    note: str = ""  # which form was chosen here and why, where there was a choice: record, card and report show it

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that ships."""
        return (self.path, *self.beside)


PRECISIONS = ("fp32", "bf16", "fp16", "quantized")  # quantized: 8-bit whole numbers, as the graph says
Predictor = Callable[["np.ndarray[Any, Any]"], "np.ndarray[Any, Any]"]  # images float32 (N, C, H, W) -> logits (N, K)


@dataclass(frozen=True)
class Runtime:
    """What runs a deployable: a library, and how it is asked to load the file.

    `load(path, threads, precision, **options)` returns a Predictor; `path` and `precision` are text. Its source is
    all that a shipped folder takes along, so it imports what it needs itself and uses no name of its module. It runs
    in a process of its own, where a crash costs the trial alone.

    A predictor may have an attribute `on_device`, which the stopwatch uses beside the call from outside. It takes
    images, copies them to the device, and returns a step: a function without arguments that starts one run on them,
    on PyTorch's current CUDA stream, and need not wait for it.
    """

    name: str  # to a person: "ONNX Runtime, CPU"
    load: Callable[..., Predictor]
    packages: tuple[str, ...]  # distributions that `load` needs, numpy apart
    format: str = "onnx"  # of the deployables that it reads
    precisions: tuple[str, ...] = ("fp32",)  # that it computes in
    options: Mapping[str, Json] = field(default_factory=dict)  # plain JSON
    threads: int | None = None  # None: as many as the study times with
    device: str = "cpu"  # "cuda": the first GPU that the process sees, which the stopwatch then has for itself too
