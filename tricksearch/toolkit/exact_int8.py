"""What an 8-bit ONNX graph computes by definition: its layers in whole numbers, with no kernel that could saturate.

Layers are recognised in the two forms that onnxruntime's quantizers write: a convolution or matrix product of
dequantized tensors (QDQ), and ConvInteger or MatMulInteger. What lies between them stays in floats, and is run by
onnxruntime without any rewriting of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

Array = NDArray[Any]

AT_ONCE = 16  # images: the patches of a convolution take many times the room of its input
QDQ, INTEGER = ("Conv", "Gemm", "MatMul"), ("ConvInteger", "MatMulInteger")


def exact_product(left: Array, right: Array) -> Array:
    """The matrix product (..., M, K) x (..., K, N) of 9-bit whole numbers, exact; float64 that holds whole numbers.

    BLAS multiplies floats alone, and floats add whole numbers exactly up to 2^24 (float32) or 2^53 (float64).

    >>> exact_product(np.array([[255, 255]]), np.array([[127], [127]]))
    array([[64770.]])
    """
    kind = np.float32 if left.shape[-1] * 255 * 255 < 2**24 else np.float64
    result: Array = np.matmul(left.astype(kind), right.astype(kind)).astype(np.float64)
    return result


def exact_convolution(pixels: Array, weight: Array, attributes: Mapping[str, Any]) -> Array:
    """The convolution of whole numbers (N, C, ...) by (O, C / groups, ...), exact; `attributes` are ONNX's of Conv."""
    kernel = weight.shape[2:]
    sides = len(kernel)
    steps = list(attributes.get("strides") or [1] * sides)
    apart = list(attributes.get("dilations") or [1] * sides)
    spans = [(size - 1) * gap + 1 for size, gap in zip(kernel, apart, strict=True)]
    pads = _pads(pixels.shape[2:], spans, steps, attributes)
    groups = int(attributes.get("group", 1))
    rows = weight.reshape(groups, weight.shape[0] // groups, -1)
    parts = []
    for start in range(0, len(pixels), AT_ONCE):
        padded = np.pad(pixels[start : start + AT_ONCE], [(0, 0), (0, 0), *pads])
        axes = tuple(range(2, 2 + sides))
        windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=axes)
        index = (slice(None), slice(None), *(slice(None, None, step) for step in steps))
        windows = windows[index + tuple(slice(None, None, gap) for gap in apart)]
        count, out = len(padded), windows.shape[2 : 2 + sides]
        # (N, C, places, kernel) -> (groups, C / groups x kernel, N x places), so that each group is one product
        flat = windows.reshape(count, groups, pixels.shape[1] // groups, int(np.prod(out)), int(np.prod(kernel)))
        patches = flat.transpose(1, 2, 4, 0, 3).reshape(groups, rows.shape[2], -1)
        made = exact_product(rows, patches).reshape(weight.shape[0], count, *out)
        parts.append(np.moveaxis(made, 1, 0))
    return np.concatenate(parts)


def _pads(
    shape: Sequence[int], spans: Sequence[int], steps: Sequence[int], attributes: Mapping[str, Any]
) -> list[tuple[int, int]]:
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        missing = [
            max((-(-side // step) - 1) * step + span - side, 0)
            for side, span, step in zip(shape, spans, steps, strict=True)
        ]
        less = [total // 2 for total in missing]
        pairs = [(few, total - few) for few, total in zip(less, missing, strict=True)]
        return pairs if auto == "SAME_UPPER" else [(more, few) for few, more in pairs]
    given = list(attributes.get("pads") or [0] * 2 * len(shape))
    return list(zip(given[: len(shape)], given[len(shape) :], strict=True))


def exact_logits(path: Path, images: Array) -> Array:
    """The logits (N, K) that the graph in `path` has for one batch of float32 images (N, C, H, W), by its definition.

    A dynamic graph takes its ranges from the whole batch.
    """
    return _Graph(onnx.load(path)).run(images)


@dataclass
class _Graph:
    """An ONNX graph cut into layers of whole numbers and the float parts between them."""

    model: onnx.ModelProto
    _sessions: dict[int, onnxruntime.InferenceSession] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.model.graph
        self._weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._scaled = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
        self._parts = list(self._cut())
        wanted = [set[str](value.name for value in graph.output)]
        for part in reversed(self._parts):  # what each part has to hand on
            reads = {name for node in part for name in (*node.input, *self._grids(node))}
            wanted.append(wanted[-1] | reads)
        self._wanted = wanted[-2::-1]

    def run(self, images: Array) -> Array:
        """The logits of one batch."""
        values: dict[str, Array] = {self.model.graph.input[0].name: images}
        for number, part in enumerate(self._parts):
            if self._is_exact(part[0]):
                values[part[0].output[0]] = self._layer(part[0], values)
            else:
                values |= self._floats(number, values)
        return values[self.model.graph.output[0].name]

    def _cut(self) -> Iterator[list[onnx.NodeProto]]:
        part: list[onnx.NodeProto] = []
        for node in self.model.graph.node:
            if self._is_exact(node):
                if part:
                    yield part
                yield [node]
                part = []
            else:
                part.append(node)
        if part:
            yield part

    def _is_exact(self, node: onnx.NodeProto) -> bool:
        both = all(name in self._scaled for name in node.input[:2])
        return node.op_type in INTEGER or (node.op_type in QDQ and both)

    def _grids(self, node: onnx.NodeProto) -> list[str]:
        """The names of the whole numbers, scales and zero points behind what a layer reads."""
        read = [self._scaled[name] for name in node.input if name in self._scaled] if self._is_exact(node) else []
        return [name for scaling in read for name in scaling.input]

    def _floats(self, number: int, values: Mapping[str, Array]) -> dict[str, Array]:
        part = self._parts[number]
        made = [name for node in part for name in node.output if name in self._wanted[number]]
        read = dict.fromkeys(name for node in part for name in node.input if name in values)
        if number not in self._sessions:
            self._sessions[number] = self._session(part, {name: values[name] for name in read}, made)
        given = self._sessions[number].run(made, {name: values[name] for name in read}) if made else []
        return dict(zip(made, given, strict=True))

    def _session(
        self, part: Sequence[onnx.NodeProto], given: Mapping[str, Array], made: Sequence[str]
    ) -> onnxruntime.InferenceSession:
        used = {name for node in part for name in node.input}
        inputs = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim
            )
            for name, value in given.items()
        ]
        held = [tensor for tensor in self.model.graph.initializer if tensor.name in used]
        graph = onnx.helper.make_graph(part, "part", inputs, [onnx.ValueInfoProto(name=name) for name in made], held)
        model = onnx.helper.make_model(
            graph, opset_imports=list(self.model.opset_import), ir_version=self.model.ir_version
        )
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def _layer(self, node: onnx.NodeProto, values: Mapping[str, Array]) -> Array:
        def value(name: str) -> Array:
            return self._weights[name] if name in self._weights else values[name]

        attributes = {given.name: onnx.helper.get_attribute_value(given) for given in node.attribute}
        if node.op_type in INTEGER:
            zeros = [value(name) for name in node.input[2:4]] + [np.zeros((), np.int64)] * (4 - len(node.input))
            left, right = (value(name).astype(np.int64) for name in node.input[:2])
            shifted = left - zeros[0].astype(np.int64), right - _along(zeros[1], right, node)
            whole: Array = _apply(node.op_type, *shifted, attributes).astype(np.int32)
            return whole
        (left, left_scale), (right, right_scale) = (_shifted(self._scaled[name], value) for name in node.input[:2])
        if attributes.get("transA"):
            left = left.T
        if attributes.get("transB"):
            right, right_scale = right.T, right_scale.T if right_scale.ndim > 1 else right_scale
        scale = left_scale * _of_outputs(right_scale, node)
        total = _apply(node.op_type, left, right, attributes) * float(attributes.get("alpha", 1.0))
        shape = (1, -1, *[1] * (total.ndim - 2)) if node.op_type == "Conv" else (-1,)
        result = total * scale
        for name in node.input[2:]:
            bias = value(name)
            if name in self._scaled:
                number, own = _shifted(self._scaled[name], value)
                bias = number * own.reshape(-1) if own.size > 1 else number * own
            result = result + float(attributes.get("beta", 1.0)) * bias.reshape(shape)
        made: Array = result.astype(np.float32)
        return made


def _apply(kind: str, left: Array, right: Array, attributes: Mapping[str, Any]) -> Array:
    if kind.startswith("Conv"):
        return exact_convolution(left, right, attributes)
    return exact_product(left, right)


def _along(zero: Array, weight: Array, node: onnx.NodeProto) -> Array:
    """The zero points of an integer layer's weight in a shape that can be subtracted from it."""
    if zero.size == 1:
        return zero.reshape(()).astype(np.int64)
    shape = [-1, *[1] * (weight.ndim - 1)] if node.op_type == "ConvInteger" else [1, -1]
    return zero.astype(np.int64).reshape(shape)


def _shifted(scaling: onnx.NodeProto, value: Any) -> tuple[Array, Array]:
    """The whole numbers behind a DequantizeLinear, zero points taken off, and their scales (float64)."""
    number, scale = value(scaling.input[0]).astype(np.int64), value(scaling.input[1]).astype(np.float64)
    zero = value(scaling.input[2]).astype(np.int64) if len(scaling.input) > 2 else np.zeros((), np.int64)
    if scale.size == 1:
        return number - zero.reshape(()), scale.reshape(())
    axis = next((given.i for given in scaling.attribute if given.name == "axis"), 1) % number.ndim
    shape = [-1 if side == axis else 1 for side in range(number.ndim)]
    return number - zero.reshape(shape), scale.reshape(shape)


def _of_outputs(scale: Array, node: onnx.NodeProto) -> Array:
    """A weight's scales in the shape of the layer's outputs: (1, O, 1, ...) of a convolution, (O,) of a product."""
    if scale.size == 1:
        return scale
    if node.op_type == "Conv":
        return scale.reshape(1, -1, *[1] * (scale.ndim - 2))
    return scale.reshape(-1)
