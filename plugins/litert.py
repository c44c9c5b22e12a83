"""LiteRT: run the net as a .tflite file in LiteRT, the runtime of phones and small boards, here on the CPU.

Paper: none; https://ai.google.dev/edge/litert, release 2.3; the converter, LiteRT Torch 0.10.
Use when: the file ships to a phone or a small board and this machine is a stand-in for it.
Avoid when: requests come in batches: the file holds a batch of one, and larger ones go image by image. The converter
needs a torch below 2.15.
Cost: nothing in training, about ten seconds at the export; when deployed a library of 15 MB.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tricksearch import Deployable, NotApplicable, Predictor, Runtime, TrialError, Trick, Workbench

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

MODULES = ("litert_torch", "ai_edge_litert")


def absent(modules: Iterable[str]) -> list[str]:
    """Those of the top-level modules that are not installed; none of them is imported.

    >>> absent(["json", "no_such_module"])
    ['no_such_module']
    """
    return [module for module in modules if importlib.util.find_spec(module) is None]


def write_tflite(net: nn.Module, input_shape: tuple[int, int, int], target: Path) -> None:
    """Convert the net (float32, CPU, evaluation mode) for one image (1, C, H, W). Raises TrialError where it cannot."""
    import litert_torch
    import torch

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress there
            # A free batch size passes torch.export, and fails where the converter meets the first reshape.
            litert_torch.convert(net, (torch.zeros(1, *input_shape),)).export(str(target))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise TrialError(f"LiteRT Torch cannot convert the net: {type(error).__name__}: {reason}") from error


def load_litert(path: str, threads: int, precision: str) -> Predictor:
    """The file in LiteRT's interpreter, by XNNPACK on the CPU; one image after another."""
    import numpy
    from ai_edge_litert.interpreter import Interpreter

    net = Interpreter(model_path=path, num_threads=threads)
    net.allocate_tensors()
    (images_in,), (logits_out,) = net.get_input_details(), net.get_output_details()

    def one(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:  # (C, H, W) -> (1, K)
        net.set_tensor(images_in["index"], image[None])
        net.invoke()
        logits: np.ndarray[Any, Any] = net.get_tensor(logits_out["index"])
        return logits

    return lambda images: numpy.concatenate([one(image) for image in images])


@dataclass(frozen=True)
class LiteRt(Trick):
    """Converts the net, not the ONNX graph, to a .tflite file, and runs that."""

    claims = "runtime"
    after = ("precision",)
    branches = False

    def deploy(self, deployable: Deployable, bench: Workbench) -> Deployable:
        """Convert the net. Raises NotApplicable for any precision but fp32."""
        if deployable.precision != "fp32":
            raise NotApplicable(f"LiteRT is given the float32 net here, and {deployable.precision} was asked for")
        target = bench.folder / f"{deployable.path.stem}.tflite"
        write_tflite(bench.net(), bench.input_shape, target)
        return replace(deployable, path=target, beside=(), format="tflite")

    def runtime(self, runtime: Runtime, bench: Workbench) -> Runtime:
        """LiteRT on the CPU."""
        return Runtime("LiteRT, CPU", load_litert, packages=("ai-edge-litert",), format="tflite")

    @classmethod
    def unavailable(cls) -> str | None:
        """LiteRT and its converter are an extra."""
        if missing := absent(MODULES):
            return f"{' and '.join(missing)} not installed: pip install 'tricksearch[litert]', with a torch below 2.15"
        return None
