"""The third stage: from the float graph to the file that ships, and to what runs it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from tricksearch.contract import Deployable, Runtime
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME, check_fit

if TYPE_CHECKING:
    from tricksearch.trial.training.workbench import Bench


def runtime_of(bench: Bench) -> Runtime:
    """What runs the deployable of a recipe."""
    runtime = ONNX_RUNTIME
    for trick in bench.tricks:
        runtime = trick.runtime(runtime, bench)
    return runtime


def deploy(bench: Bench, deployable: Deployable, runtime: Runtime) -> tuple[Deployable, str]:
    """What the deploy hooks make of a graph, and the skeleton of the last ONNX graph on the way to it.

    Raises NotApplicable where the runtime does not take the file.
    """
    graph = deployable.path
    for trick in bench.tricks:
        deployable = trick.deploy(deployable, bench)
        graph = deployable.path if deployable.format == "onnx" else graph
    check_fit(runtime, deployable)
    return deployable, skeleton_of(graph)


def skeleton_of(graph: Path) -> str:
    """A hash of an ONNX graph without the values of its weights: nodes, attributes, shapes, types."""
    import onnx

    model = onnx.load(str(graph))
    resizing = {name for node in model.graph.node if node.op_type == "Resize" for name in node.input}
    for tensor in model.graph.initializer:
        # Shapes, axes and the scales of a resizing do change the work; the numbers of a layer do not.
        if tensor.data_type != onnx.TensorProto.INT64 and tensor.name not in resizing:
            for content in ("raw_data", "float_data", "int32_data", "double_data", "uint64_data"):
                tensor.ClearField(content)
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()[:32]
