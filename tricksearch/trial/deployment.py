"""The third stage: from the float graph to the file that ships, and to what runs it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tricksearch.contract import Deployable, Runtime
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME, check_fit

if TYPE_CHECKING:
    from tricksearch.trial.training.workbench import Bench

GRAPHS = (5, 10)  # AttributeProto's numbers for a graph and for graphs, in which a node holds its branches


def runtime_of(bench: Bench) -> Runtime:
    """What runs the deployable of a recipe."""
    runtime = ONNX_RUNTIME
    for trick in bench.tricks:
        runtime = trick.runtime(runtime, bench)
    return runtime


def deploy(bench: Bench, deployable: Deployable, runtime: Callable[[], Runtime]) -> tuple[Deployable, Path]:
    """What the deploy hooks make of a graph, and the last ONNX graph on the way to it.

    `runtime` is called when the file is made: its hooks come last. Raises NotApplicable where it cannot take it.
    """
    graph = deployable.path
    for trick in bench.tricks:
        deployable = trick.deploy(deployable, bench)
        graph = deployable.path if deployable.format == "onnx" else graph
    check_fit(runtime(), deployable)
    return deployable, graph


def noted(deployable: Deployable, skeleton: str, graph: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept beside a deployable's files: what it is, and `graph`, what was counted on the float graph."""
    plain = {name: value for name, value in asdict(deployable).items() if name not in ("path", "beside")}
    return {**plain, **graph} | {
        "path": deployable.path.name,
        "beside": [file.name for file in deployable.beside],
        "file_bytes": file_bytes(deployable),
        "skeleton": skeleton,
    }


def restored(meta: Mapping[str, Any], file: Callable[[str], Path]) -> Deployable:
    """The deployable of which this was noted; `file` gives the path of a file that is kept, by its name."""
    beside = tuple(file(name) for name in meta["beside"])
    return Deployable(
        file(meta["path"]), beside, meta["format"], meta["precision"], meta["input"], meta.get("note", "")
    )


def file_bytes(deployable: Deployable) -> int:
    """The size of all files that ship."""
    return sum(file.stat().st_size for file in deployable.files)


def skeleton_of(path: Path) -> str:
    """A hash of an ONNX graph without its names and the values of its weights: operators, attributes, shapes, types.

    Two files of one skeleton do the same work, whatever their exporter called the nodes and tensors.
    """
    import onnx

    model = onnx.load(str(path))
    graph = model.graph
    resizing = {name for node in graph.node if node.op_type == "Resize" for name in node.input}
    for tensor in graph.initializer:
        # Shapes, axes and the scales of a resizing do change the work; the numbers of a layer do not.
        if tensor.data_type != onnx.TensorProto.INT64 and tensor.name not in resizing:
            for content in ("raw_data", "float_data", "int32_data", "double_data", "uint64_data"):
                tensor.ClearField(content)
    _rename(graph, {"": ""})
    whole = hashlib.sha256(graph.SerializeToString(deterministic=True))
    for part in (*model.functions, *sorted(model.opset_import, key=lambda opset: opset.domain)):
        whole.update(part.SerializeToString(deterministic=True))
    return whole.hexdigest()[:32]


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Number the tensors of an ONNX graph in the order of their use; what only describes it goes.

    `names` are the new names so far, those of the graphs around it included.
    """

    def new(name: str) -> str:
        return names.setdefault(name, str(len(names)))

    for value in graph.input:
        value.name = new(value.name)
    for node in graph.node:
        node.name = node.doc_string = ""
        node.input[:] = [new(name) for name in node.input]
        for attribute in node.attribute:
            attribute.doc_string = ""
            for inner in (attribute.g, *attribute.graphs) if attribute.type in GRAPHS else ():
                _rename(inner, names)
        node.output[:] = [new(name) for name in node.output]
        del node.metadata_props[:]
    weights = sorted(graph.initializer, key=lambda tensor: int(new(tensor.name)))
    for tensor in weights:
        tensor.name, tensor.doc_string = new(tensor.name), ""
    kept = [type(tensor).FromString(tensor.SerializeToString()) for tensor in weights]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for value in graph.output:
        value.name = new(value.name)
    graph.name = graph.doc_string = ""
    for described in (graph.value_info, graph.quantization_annotation, graph.metadata_props):
        del described[:]
