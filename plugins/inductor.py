"""TorchInductor: compile the net ahead of time to machine code, fused for the CPU at hand.

Paper: Ansel et al. 2024, doi 10.1145/3620665.3640366; AOTInductor in the documentation of PyTorch 2.15.
Use when: PyTorch is the service's runtime anyway, and much of the latency lies in elementwise operators.
Avoid when: the file has to run on another kind of CPU than the one that it was compiled on: it holds its machine code.
Load such a file only from where you trust.
Cost: nothing in training, a C++ compiler and up to a minute at the export; PyTorch when deployed.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tricksearch import Deployable, NotApplicable, Predictor, Runtime, TrialError, Trick, Workbench
from tricksearch.toolkit.program import program_of

if TYPE_CHECKING:
    import torch
    from torch import nn

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
CONFIG = {
    "cpp.dynamic_threads": True,  # else the number of threads of this process is compiled in
    "compile_threads": 1,  # no pool of processes that outlives the trial
    "freezing": True,  # fold the constants, batch norms into convolutions first of all
}


def compile_to(target: Path, net: nn.Module, input_shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    """Compile the net to a package for this CPU: images (N, C, H, W) -> logits, float32, computed in `dtype`.

    `net` is converted in place. Raises TrialError where the net cannot be followed or does not compile.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
    >>> compile_to(Path("net.pt2"), net, (3, 2, 2), torch.int8)  # only floats can be computed in
    Traceback (most recent call last):
    tricksearch.contract.errors.TrialError: torch.export cannot follow the net: ...
    """
    import torch
    from torch._inductor import aoti_compile_and_package

    program = program_of(net, input_shape, dtype)
    try:
        with torch.no_grad():
            aoti_compile_and_package(program, package_path=str(target), inductor_configs=dict(CONFIG))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise TrialError(f"TorchInductor cannot compile the net: {reason}") from error


def load_inductor(path: str, threads: int, precision: str) -> Predictor:
    """The compiled package; the precision was compiled in."""
    import tempfile
    import zipfile

    import torch
    from torch._inductor import aoti_load_package

    torch.set_num_threads(threads)
    # Unpacked here, and gone at once: the package's own loader leaves its copy behind when its process is killed.
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(path) as package:
            package.extractall(folder)
        net = aoti_load_package(folder)
    return torch.inference_mode()(lambda images: net(torch.from_numpy(images)).numpy())


@dataclass(frozen=True)
class Inductor(Trick):
    """Compiles the net with AOTInductor to one package, and runs that."""

    claims = "runtime"
    after = ("precision",)
    branches = False

    def deploy(self, deployable: Deployable, bench: Workbench) -> Deployable:
        """Compile the net. Raises NotApplicable for INT8, which changed the graph and not the net."""
        import torch

        if deployable.precision not in DTYPES:
            raise NotApplicable(f"PyTorch is given the net, and {deployable.precision} is a change of the ONNX graph")
        target = bench.folder / f"{deployable.path.stem}.aoti.pt2"
        compile_to(target, bench.net(), bench.input_shape, getattr(torch, DTYPES[deployable.precision]))
        return replace(deployable, path=target, beside=(), format="aotinductor")

    def runtime(self, runtime: Runtime, bench: Workbench) -> Runtime:
        """The compiled code, on the CPU."""
        return Runtime(
            "TorchInductor, CPU",
            load_inductor,
            packages=("torch",),
            format="aotinductor",
            precisions=tuple(DTYPES),
        )

    @classmethod
    def unavailable(cls) -> str | None:
        """It takes a C++ compiler."""
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            return f"there is no C++ compiler '{compiler}': install g++, or set CXX to another"
        return None
