"""Quantization-aware training: train on with weights and activations rounded to 8 bits, then ship an INT8 file.

Paper: Jacob et al. 2018, arXiv 1712.05877; the gradient goes straight through, Bengio et al. 2013, arXiv 1308.3432.
Use when: INT8 is wanted, and quantization after training loses accuracy.
Avoid when: it loses none, which is common for wide nets; or the net's path depends on its input.
Cost: the epochs of fine-tuning, each about twice as long; the latency and the size of an INT8 file.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from tricksearch import Choice, Deployable, Float, Int, TrialError, Trick, Workbench
from tricksearch.toolkit.processor import form_note, seven_bits, slow_because, this_processor
from tricksearch.toolkit.quantize import BATCH, FEWEST, Scheme, quantize

if TYPE_CHECKING:
    from torch import Tensor, nn


STEPS = {False: 127, True: 64}  # either side of 0, as onnxruntime's quantizer has them: with 8 bits and with 7


def round_weight(weight: Tensor, steps: int = 127) -> Tensor:
    """A weight (O, ...) on the grid of whole numbers -`steps` to `steps` times a scale for each output.

    The gradient is that of the identity.

    >>> import torch
    >>> round_weight(torch.tensor([[127.0, 0.4, -3.6], [254.0, 0.8, 1.2]]))
    tensor([[127.,   0.,  -4.],
            [254.,   0.,   2.]])
    """
    import torch

    scale = weight.detach().flatten(1).abs().amax(1).div(steps).clamp_min(torch.finfo(torch.float32).tiny)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -steps, steps)


def round_activation(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Values on the grid of the 256 numbers from `low` to `high` (scalars) that holds 0 exactly.

    What lies outside is cut off, and gets no gradient; the rest gets that of the identity.

    >>> import torch
    >>> round_activation(torch.tensor([-1.0, 0.2, 0.6, 300.0]), torch.tensor(0.0), torch.tensor(255.0))
    tensor([  0.,   0.,   1., 255.])
    """
    import torch

    low, high = low.clamp_max(0), high.clamp_min(0)
    scale = ((high - low) / 255).clamp_min(torch.finfo(torch.float32).tiny)
    zero = torch.round(-low / scale).clamp(0, 255).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, 255)


@dataclass(frozen=True)
class Qat(Trick):
    """Fine-tunes a copy that rounds where the INT8 file will, and quantizes what is exported (static, per channel)."""

    claims = "precision"
    after = ("compress.width", "compress.rank")

    epochs: Annotated[float, Float(0.1, 1.0)] = 0.25  # fine-tuning, multiple of the study's epochs
    lr: Annotated[float, Float(0.001, 0.1, log=True)] = 0.01  # its first learning rate, multiple of the base
    images: Annotated[int, Int(32, 512, search=False)] = 128  # training images that show the first and last ranges
    # Weights of 7 bits, which x86 without VNNI needs; auto: where the processor that trains and measures does.
    reduce_range: Annotated[bool | str, Choice("auto", False, True, search=False)] = "auto"

    def compress(self, net: nn.Module, bench: Workbench) -> nn.Module:
        """A float net without BatchNorms, trained to be rounded.

        Raises NotApplicable where the net cannot be traced, TrialError for too few training images.
        """
        import torch

        from tricksearch.toolkit.fake_quant import observe, take_weights, with_rounding
        from tricksearch.toolkit.traced import fold_batch_norms

        images = torch.from_numpy(bench.calibration_images(self.images))
        if len(images) < FEWEST:
            raise TrialError(f"calibration needs {FEWEST} training images or more, and there are {len(images)}")
        plain = fold_batch_norms(net)
        seven, _ = seven_bits(self.reduce_range, "static", this_processor())
        steps = STEPS[seven]
        rounding = with_rounding(plain, functools.partial(round_weight, steps=steps), round_activation)
        observe(rounding, torch.split(images.to(next(net.parameters()).device), BATCH))
        take_weights(plain, bench.fine_tune(rounding, max(1, round(self.epochs * bench.epochs)), self.lr))
        return plain

    def deploy(self, deployable: Deployable, bench: Workbench) -> Deployable:
        """Quantize the file as it was trained to be. Raises TrialError for too few training images."""
        from tricksearch.toolkit.fake_quant import OP_TYPES

        processor = this_processor()
        seven, why = seven_bits(self.reduce_range, "static", processor)
        scheme = Scheme(reduce_range=seven, op_types=OP_TYPES)
        made = quantize(deployable, bench.folder, bench.calibration_images(self.images), scheme)
        return replace(made, note=form_note(why, slow_because(deployable.path, "static", processor)))
