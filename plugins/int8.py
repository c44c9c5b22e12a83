"""INT8: compute with 8-bit whole numbers in place of 32-bit floats, scaled by what training images show.

Paper: Jacob et al. 2018, arXiv 1712.05877; a scale for each channel, Krishnamoorthi 2018, arXiv 1806.08342.
Use when: the machine that will run the file has 8-bit dot products (VNNI, AMX, Tensor Cores).
Avoid when: the net is so small that its latency is overhead, or no tenth of a point may be lost.
Cost: nothing in training, seconds at the export; a file of about a quarter, often a fraction of the latency.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tricksearch import Choice, Deployable, Int, TrialError, Trick, Workbench

if TYPE_CHECKING:
    import numpy as np

FEWEST = 8  # images: with less, the ranges are those of single images
METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}


class Reader:
    """Hands a quantizer `images` (N, C, H, W), float32, 32 at a time, under the name of the graph's input.

    >>> import numpy as np
    >>> reader = Reader("images", np.zeros((40, 1, 8, 8), np.float32))
    >>> len(reader), reader.get_next()["images"].shape, len(reader.get_next()["images"]), reader.get_next()
    (2, (32, 1, 8, 8), 8, None)
    """

    def __init__(self, name: str, images: np.ndarray[Any, Any]) -> None:
        self.batches = [{name: images[start : start + 32]} for start in range(0, len(images), 32)]
        self.set_range(0, len(self.batches))

    def __len__(self) -> int:
        return len(self.batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with these batches."""
        self.waiting: Iterator[dict[str, Any]] = iter(self.batches[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, or None."""
        return next(self.waiting, None)


def quantize(source: Path, target: Path, reader: Reader, *, per_channel: bool, method: str, reduce_range: bool) -> None:
    """Write the float ONNX graph `source` to `target`, with 8-bit weights and activations.

    The activations' ranges are those that the images of `reader` cause, taken by one of METHODS.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantType, quant_pre_process, quantize_static

    simplified = target.with_suffix(".simplified.onnx")
    with contextlib.redirect_stdout(io.StringIO()):  # the histograms report their progress there
        quant_pre_process(source, simplified)
        quantize_static(
            simplified,
            target,
            reader,
            per_channel=per_channel,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,  # with QInt8, an x86 CPU took three to four times as long
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[METHODS[method]],
            # One batch at a time, so that memory stays bounded; and all 8 bits for what is never below 0.
            extra_options={"CalibStridedMinMax": 1, "CalibTensorRangeSymmetric": False},
        )
    simplified.unlink()


@dataclass(frozen=True)
class Int8(Trick):
    """Quantizes the exported graph after training (static, in QDQ form)."""

    claims = "precision"

    per_channel: Annotated[bool, Choice(True, False)] = True  # a scale for each output channel of a weight
    method: Annotated[str, Choice(*METHODS)] = "minmax"  # how the range of an activation is chosen
    images: Annotated[int, Int(32, 512, search=False)] = 128  # training images to calibrate on
    reduce_range: Annotated[bool, Choice(False, True, search=False)] = False  # 7 bits, for x86 without VNNI

    def deploy(self, deployable: Deployable, bench: Workbench) -> Deployable:
        """Quantize the file. Raises TrialError where there are too few training images."""
        images = bench.calibration_images(self.images)
        if len(images) < FEWEST:
            raise TrialError(f"calibration needs {FEWEST} training images or more, and there are {len(images)}")
        target = bench.folder / f"{deployable.path.stem}.int8.onnx"
        quantize(
            deployable.path,
            target,
            Reader(deployable.input, images),
            per_channel=self.per_channel,
            method=self.method,
            reduce_range=self.reduce_range,
        )
        return replace(deployable, path=target)
