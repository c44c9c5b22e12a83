"""Half precision: compute with 16-bit floats in place of 32-bit ones.

Paper: fp16, Micikevicius et al. 2018, arXiv 1710.03740; bf16, Kalamkar et al. 2019, arXiv 1905.12322.
Use when: the machine has instructions for it: GPUs for both, CPUs with AMX or AVX-512 BF16 for bf16.
Avoid when: the runtime has few kernels for it: it then converts back and forth, and gets slower. For fp16, when
activations pass 65,504.
Cost: nothing in training; with fp16 a file of half the size, and a digit or two of the logits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from tricksearch import Choice, Deployable, Trick, Workbench


def to_fp16(source: Path, target: Path) -> None:
    """Write the float32 ONNX graph `source` to `target` with float16 inside; its input and output stay float32.

    >>> import onnx, tempfile
    >>> graph = onnx.parser.parse_model('''<ir_version: 8, opset_import: ["" : 17]>
    ...     g (float[n, 2] images) => (float[n, 2] logits) <float[2] b = {0.1, 0.2}> { logits = Add(images, b) }''')
    >>> folder = Path(tempfile.mkdtemp())
    >>> onnx.save(graph, folder / "a.onnx")
    >>> to_fp16(folder / "a.onnx", folder / "b.onnx")
    >>> [node.op_type for node in onnx.load(folder / "b.onnx").graph.node]
    ['Cast', 'Add', 'Cast']
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = OnnxModel(convert_float_to_float16(onnx.load(source), keep_io_types=True))
    model.topological_sort()  # the conversion puts its own nodes at the end, which the format forbids
    onnx.checker.check_model(model.model)
    onnx.save(model.model, target)


@dataclass(frozen=True)
class HalfPrecision(Trick):
    """Converts the graph to fp16; the conversion to bf16 is the runtime's, when it loads the float32 graph."""

    claims = "precision"
    branches = False

    dtype: Annotated[str, Choice("fp16", "bf16")] = "fp16"  # bf16 has the range of float32, fp16 three more bits

    def deploy(self, deployable: Deployable, bench: Workbench) -> Deployable:
        """Convert the file, or ask for the arithmetic; a runtime that lacks it refuses the file."""
        if self.dtype == "bf16":
            return replace(deployable, precision="bf16")
        target = bench.folder / f"{deployable.path.stem}.fp16.onnx"
        to_fp16(deployable.path, target)
        return replace(deployable, path=target, precision="fp16")
