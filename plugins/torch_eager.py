"""PyTorch eager: run the net in PyTorch itself, one operator after another, as many services do.

Paper: Paszke et al. 2019, arXiv 1912.01703; the file, torch.export, Ansel et al. 2024, doi 10.1145/3620665.3640366.
Use when: PyTorch is the service's runtime anyway, or to see what leaving it would gain.
Avoid when: the latency of small batches counts: each operator is dispatched by Python, and none is fused. Load such
a file only from where you trust: torch.export.load falls back to pickle, which can run any code.
Cost: nothing in training, seconds at the export; when deployed a library of hundreds of MB and a slow start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tricksearch import Deployable, NotApplicable, Predictor, Runtime, Trick, Workbench
from tricksearch.toolkit.program import program_of

if TYPE_CHECKING:
    import torch
    from torch import nn

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}  # on a CPU, eager float16 is emulated: minutes for a ResNet-18


def save_program(target: Path, net: nn.Module, input_shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    """Write the net as a torch.export program: images (N, C, H, W) -> logits, float32, computed in `dtype`.

    `net` is converted in place. Raises TrialError where torch.export cannot follow the net.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
    >>> save_program(Path("net.pt2"), net, (3, 2, 2), torch.int8)  # only floats can be computed in
    Traceback (most recent call last):
    tricksearch.contract.errors.TrialError: torch.export cannot follow the net: ...
    """
    import torch

    torch.export.save(program_of(net, input_shape, dtype), target)


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
        save_program(target, bench.net(), bench.input_shape, dtype)
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
