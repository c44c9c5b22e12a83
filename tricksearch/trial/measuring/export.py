"""From a trained net to the file that ships, an ONNX graph, and what is counted on the net."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tricksearch.contract import Deployable, TrialError
from tricksearch.trial.faults import is_out_of_memory
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME, load

TOLERANCE = 1e-3  # of the largest logit; float32 graphs that were fused differ by about 1e-6


def export(net: nn.Module, input_shape: tuple[int, int, int], path: Path) -> Deployable:
    """Write the net as one ONNX file with a free batch size. Raises TrialError where file and net differ."""
    net = copy.deepcopy(net).cpu().float().eval().to(memory_format=torch.contiguous_format)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    example = torch.rand(2, *input_shape, generator=torch.Generator().manual_seed(0))
    deployable = Deployable(path)
    failures = []
    # The tracing exporter takes 0.05 s for a small net where torch.export takes 1.3 s, but it records one path through
    # the net's Python; what it wrote is therefore compared with the net, on another batch size too.
    for write in (_trace, _dynamo):
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                write(net, example, deployable)
                _compare(net, deployable, input_shape)
            return deployable
        except Exception as error:
            cause = _root(error)
            if is_out_of_memory(cause):
                raise cause from None
            failures.append(f"{type(cause).__name__}: {cause}".strip().splitlines()[0])
    raise TrialError(f"the net does not export to ONNX: {'; then '.join(failures)}")


def _root(error: BaseException) -> BaseException:
    """What torch.export wraps in advice of its own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _trace(net: nn.Module, example: torch.Tensor, deployable: Deployable) -> None:
    torch.onnx.export(
        net,
        (example,),
        str(deployable.path),
        dynamo=False,
        input_names=[deployable.input],
        output_names=["logits"],
        dynamic_axes={deployable.input: {0: "batch"}, "logits": {0: "batch"}},
        opset_version=17,
    )


def _dynamo(net: nn.Module, example: torch.Tensor, deployable: Deployable) -> None:
    torch.onnx.export(
        net,
        (example,),
        str(deployable.path),
        dynamo=True,
        external_data=False,
        input_names=[deployable.input],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )


def _compare(net: nn.Module, deployable: Deployable, input_shape: tuple[int, int, int]) -> None:
    predictor = load(ONNX_RUNTIME, deployable, 1)
    for batch in (1, 3):
        images = torch.rand(batch, *input_shape, generator=torch.Generator().manual_seed(batch))
        expected = net(images).numpy()
        got = predictor(images.numpy())
        worst = float(np.abs(got - expected).max()) if got.shape == expected.shape else float("inf")
        if not worst <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise TrialError(f"its logits differ from the net's by {worst:.3g}")


def count(net: nn.Module, input_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Parameters, and multiply-accumulates for one image as torch's FlopCounterMode counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    device = next(net.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, *input_shape, device=device))
    return sum(parameter.numel() for parameter in net.parameters()), counter.get_total_flops() // 2
