"""PyTorch eager: run the net in PyTorch itself, one operator after another, as many services do.

Paper: Paszke et al. 2019, arXiv 1912.01703; the file, torch.export, Ansel et al. 2024, doi 10.1145/3620665.3640366.
Use when: PyTorch is the service's runtime anyway, or to see what leaving it would gain.
Avoid when: the latency of small batches counts: each operator is dispatched by Python, and none is fused. Load such
a file only from where you trust: torch.export.load falls back to pickle, which can run any code.
Cost: nothing in training, seconds at the export; when deployed a library of hundreds of MB and a slow start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tricksearch import Deployable, NotApplicable, Predictor, Runtime, TrialError, Trick, Workbench

if TYPE_CHECKING:
    import torch
    from torch import nn

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}  # on a CPU, eager float16 is emulated: minutes for a ResNet-18


def program_of(net: nn.Module, input_shape: tuple[int, int, int], dtype: torch.dtype) -> Any:
    """The net as a torch.export program that computes in `dtype`: images (N, C, H, W) -> logits, both float32.

    `net` is converted in place. Raises TrialError where torch.export cannot follow the net.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
    >>> program = program_of(net, (3, 2, 2), torch.bfloat16)
    >>> logits = program.module()(torch.zeros(5, 3, 2, 2))
    >>> logits.shape, logits.dtype, net[1].weight.dtype
    (torch.Size([5, 2]), torch.float32, torch.bfloat16)
    """
    import torch

    class Inside(torch.nn.Module):
        """Takes and gives float32."""

        def __init__(self) -> None:
            super().__init__()
            self.net = net.to(dtype)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.net(images.to(dtype)).float()
            return logits

    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    try:
        with torch.no_grad():
            # Two images: a batch of one would be taken for a constant.
            return torch.export.export(Inside().eval(), (torch.zeros(2, *input_shape),), dynamic_shapes=({0: batch},))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise TrialError(f"torch.export cannot follow the net: {str(error).strip().splitlines()[0]}") from error


def load_torch_eager(path: str, threads: int, precision: str) -> Predictor:
    """The program's operators, one call of PyTorch each; the program itself says in which precision it computes."""
    import torch

    torch.set_num_threads(threads)
    net = torch.export.load(path).module()
    return torch.inference_mode()(lambda images: net(torch.from_numpy(images)).numpy())


@dataclass(frozen=True)
class TorchEager(Trick):
    """Writes the net as a torch.export program and runs it operator by operator."""

    claims = "runtime"
    after = ("precision",)
    branches = False

    def deploy(self, deployable: Deployable, bench: Workbench) -> Deployable:
        """Write the program. Raises NotApplicable for INT8, which changed the graph and not the net."""
        import torch

        if deployable.precision not in DTYPES:
            raise NotApplicable(
                f"PyTorch computes in {' or '.join(DTYPES)}, and {deployable.precision} is a change of the ONNX graph"
            )
        dtype = getattr(torch, DTYPES[deployable.precision])
        target = bench.folder / f"{deployable.path.stem}.pt2"
        torch.export.save(program_of(bench.net(), bench.input_shape, dtype), target)
        return replace(deployable, path=target, beside=(), format="torch.export")

    def runtime(self, runtime: Runtime, bench: Workbench) -> Runtime:
        """PyTorch on the CPU."""
        return Runtime(
            "PyTorch eager, CPU",
            load_torch_eager,
            packages=("torch",),
            format="torch.export",
            precisions=tuple(DTYPES),
        )
