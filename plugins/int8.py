"""INT8: compute with 8-bit whole numbers in place of 32-bit floats, scaled by what training images show.

Paper: Jacob et al. 2018, arXiv 1712.05877; a scale for each channel, Krishnamoorthi 2018, arXiv 1806.08342.
Use when: the machine that will run the file has 8-bit dot products (VNNI, AMX, ARM's); without, it gains less.
Avoid when: the net is so small that its latency is overhead, or no tenth of a point may be lost.
Cost: nothing in training, seconds at the export; a file of about a quarter, often a fraction of the latency.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from tricksearch import Choice, Deployable, Float, Int, Trick, Workbench
from tricksearch.toolkit.processor import form_note, seven_bits, slow_because, this_processor
from tricksearch.toolkit.quantize import LAYERS, METHODS, Scheme, quantize


def too_costly(costs: Mapping[str, float], bound: float) -> list[str]:
    """The layers whose cost, in nats, is above the bound.

    >>> too_costly({"stem": 0.3, "conv1": 0.001, "head": 0.02}, bound=0.01)
    ['stem', 'head']
    """
    return [layer for layer, cost in costs.items() if cost > bound]


@dataclass(frozen=True)
class Int8(Trick):
    """Quantizes the exported graph after training: static with fixed ranges (QDQ form), or dynamic.

    With a guard, the layers that cost more than `guard` when quantized alone stay in float. A layer's cost is the
    mean, over the calibration images, of KL(float file || file with this layer quantized) of the predicted class
    probabilities, in nats. Many layers within the bound may together cost more than it.
    """

    claims = "precision"

    mode: Annotated[str, Choice(*LAYERS)] = "static"  # ranges from the images below, or from each input as it comes
    per_channel: Annotated[bool, Choice(True, False)] = True  # a scale for each output channel of a weight
    method: Annotated[str, Choice(*METHODS, when={"mode": "static"})] = "minmax"  # how an activation's range is chosen
    images: Annotated[int, Int(32, 512, search=False)] = 128  # training images to calibrate on
    # Weights of 7 bits, which x86 without VNNI needs; auto: where the processor that measures the file does.
    reduce_range: Annotated[bool | str, Choice("auto", False, True, search=False)] = "auto"
    guard: Annotated[float, Float(0.0, 1.0, search=False)] = 0.0  # nats that one layer may cost; 0: no guard

    def deploy(self, deployable: Deployable, bench: Workbench) -> Deployable:
        """Quantize the file. Raises TrialError for too few training images, NotApplicable where no layer can be."""
        processor = this_processor()
        seven, why = seven_bits(self.reduce_range, self.mode, processor)
        scheme = Scheme(self.mode, self.method, self.per_channel, seven)
        leave = functools.partial(too_costly, bound=self.guard) if self.guard else None
        made = quantize(deployable, bench.folder, bench.calibration_images(self.images), scheme, leave)
        return replace(made, note=form_note(why, slow_because(deployable.path, self.mode, processor)))

    def foreseeable(self) -> bool:
        """Which layers a guard leaves in float depends on the trained weights."""
        return not self.guard
