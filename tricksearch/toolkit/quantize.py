"""8-bit copies of ONNX graphs, written by onnxruntime's quantizers, and what each layer's rounding costs."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tricksearch.contract import Deployable, NotApplicable, TrialError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FEWEST = 8  # images: with less, the ranges are those of single images
BATCH = 32  # images at a time, so that memory stays bounded
METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
LAYERS = {"static": ("Conv", "ConvTranspose", "Gemm", "MatMul"), "dynamic": ("Conv", "MatMul")}


@dataclass(frozen=True)
class Scheme:
    """How a graph becomes one of 8-bit whole numbers.

    static: an activation's range is that which calibration images cause; `method` is one of METHODS. dynamic: it is
    taken from each input as it comes; then `method` and `op_types` mean nothing.
    """

    mode: str = "static"
    method: str = "minmax"
    per_channel: bool = True  # a scale for each output channel of a weight, where the operator has them
    reduce_range: bool = False  # 7 bits for weights
    op_types: tuple[str, ...] = ()  # the operators to quantize; none: all that onnxruntime can


Decide = Callable[[dict[str, float]], Sequence[str]]  # the cost of each layer -> the layers that stay in float


def quantize(
    deployable: Deployable, folder: Path, images: Array, scheme: Scheme, leave: Decide | None = None
) -> Deployable:
    """Write an 8-bit copy of a float ONNX file into `folder`; returns it.

    `images` float32 (N, C, H, W) calibrate a static scheme. Where `leave` is given, it is shown each layer's cost
    (`layer_costs`, taken on the same images) and names those that stay in float. Raises TrialError for too few
    images, NotApplicable where no layer is left to quantize.
    """
    if len(images) < FEWEST and (scheme.mode == "static" or leave is not None):
        raise TrialError(f"calibration needs {FEWEST} training images or more, and there are {len(images)}")
    target = folder / f"{deployable.path.stem}.quantized.onnx"
    with tempfile.TemporaryDirectory(dir=folder) as scratch, _quiet():
        simple = _simplified(deployable.path, Path(scratch), scheme)
        names = _layers(simple, scheme)
        write = _writer(simple, deployable.input, images, scheme)
        kept: Sequence[str] = ()
        if leave is not None:
            kept = leave(layer_costs(simple, deployable.input, images, names, write))
        if not set(names) - set(kept):
            reason = "none of them rounds within the bound" if names else "it has none"
            raise NotApplicable(f"no layer of the graph can be quantized: {reason}")
        write(target, (), kept)
    return replace(deployable, path=target, beside=(), precision="quantized")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what onnxruntime's quantizers print and log of their own steps out of the terminal."""
    silent = logging.NullHandler()  # without a handler, the first of their warnings would set one up for good
    logging.getLogger().addHandler(silent)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.getLogger().removeHandler(silent)


@contextlib.contextmanager
def _no_dump() -> Iterator[None]:
    """Keep symbolic shape inference that gives up from saving the graph into the working folder, which it does."""
    import onnx

    save = onnx.save_model

    def save_elsewhere(proto: Any, target: Any, *options: Any, **named: Any) -> None:
        if Path(target).is_absolute():
            save(proto, target, *options, **named)

    onnx.save_model = save_elsewhere
    try:
        yield
    finally:
        onnx.save_model = save


def _simplified(source: Path, scratch: Path, scheme: Scheme) -> Path:
    """The graph with its shapes inferred, its constants folded, and a name for every node."""
    import onnx
    from onnxruntime.quantization import quant_pre_process
    from onnxruntime.quantization.onnx_model import ONNXModel

    target = scratch / "simplified.onnx"
    try:
        with _no_dump():
            quant_pre_process(source, target)
    except Exception as error:  # it knows no other kind
        if "symbolic shape inference" not in str(error):
            raise
        # A net such as Swin moves windows by shapes that it computes. ONNX's own inference finds the shapes without.
        quant_pre_process(source, target, skip_symbolic_shape=True)
    model = ONNXModel(onnx.load(target))
    for index, node in enumerate(model.graph().node):
        node.name = node.name or f"{node.op_type}_{index}"
    if scheme.mode == "dynamic":
        model.replace_gemm_with_matmul()  # the quantizer would, under names that no layer has here
    onnx.save(model.model, target)
    return target


def _layers(path: Path, scheme: Scheme) -> list[str]:
    """The names of the nodes that hold a weight and that the scheme would quantize."""
    import onnx

    graph = onnx.load(path).graph
    constant = {tensor.name for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type in LAYERS[scheme.mode]
        and node.input[1] in constant
        and (not scheme.op_types or node.op_type in scheme.op_types)
    ]


Write = Callable[[Path, Sequence[str], Sequence[str]], None]  # target, the only nodes to quantize, those to leave


def _writer(simple: Path, name: str, images: Array, scheme: Scheme) -> Write:
    if scheme.mode == "dynamic":
        return functools.partial(_write_dynamic, simple, scheme)
    return functools.partial(_write_static, simple, scheme, _ranges(simple, name, images, scheme))


def _op_types(scheme: Scheme) -> list[str]:
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    # A sorted list: what the quantizer writes must not hang on the order of a set.
    return sorted(scheme.op_types or {*QLinearOpsRegistry, *QDQRegistry})


class _Reader:
    """Hands a calibrator one batch, under the name of the graph's input."""

    def __init__(self, batch: dict[str, Array]) -> None:
        self.waiting: Iterator[dict[str, Array]] = iter([batch])

    def get_next(self) -> dict[str, Array] | None:
        """The batch, then None."""
        return next(self.waiting, None)


def _batches(images: Array) -> Iterator[Array]:
    return (images[start : start + BATCH] for start in range(0, len(images), BATCH))


def _ranges(simple: Path, name: str, images: Array, scheme: Scheme) -> Any:
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    with tempfile.TemporaryDirectory(dir=simple.parent) as scratch, contextlib.redirect_stdout(io.StringIO()):
        calibrator = create_calibrator(  # the histograms report their progress to stdout
            simple,
            _op_types(scheme),
            augmented_model_path=str(Path(scratch) / "augmented.onnx"),
            calibrate_method=CalibrationMethod[METHODS[scheme.method]],
            extra_options={"symmetric": False},  # all 8 bits for what is never below 0
        )
        for batch in _batches(images):
            calibrator.collect_data(_Reader({name: batch}))
        return calibrator.compute_data()


def _write_static(
    simple: Path, scheme: Scheme, ranges: Any, target: Path, only: Sequence[str], leave: Sequence[str]
) -> None:
    import copy

    from onnxruntime.quantization import QDQQuantizer, QuantType
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

    quantizer = QDQQuantizer(
        load_model_with_shape_infer(simple),
        scheme.per_channel,
        scheme.reduce_range,
        QuantType.QInt8,  # weights
        QuantType.QUInt8,  # activations: with QInt8, an x86 CPU took three to four times as long
        copy.deepcopy(ranges),  # it adjusts them to what it fuses
        list(only),
        list(leave),
        _op_types(scheme),
        # Of a product of two activations, as in attention, neither is a weight.
        {"MatMulConstBOnly": bool(scheme.op_types)},
    )
    quantizer.quantize_model()
    quantizer.model.save_model_to_file(str(target))


def _write_dynamic(simple: Path, scheme: Scheme, target: Path, only: Sequence[str], leave: Sequence[str]) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        simple,
        target,
        per_channel=scheme.per_channel,
        reduce_range=scheme.reduce_range,
        weight_type=QuantType.QUInt8,  # older releases have no integer convolution of signed weights
        nodes_to_quantize=list(only),
        nodes_to_exclude=list(leave),
    )


def layer_costs(simple: Path, name: str, images: Array, names: Sequence[str], write: Write) -> dict[str, float]:
    """For each layer, `mean_kl` between the float file and the one in which this layer alone is quantized."""
    expected = predictions(simple, name, images)
    costs = {}
    for layer in names:
        alone = simple.with_name("alone.onnx")
        write(alone, [layer], ())
        costs[layer] = mean_kl(expected, predictions(alone, name, images))
    return costs


def predictions(path: Path, name: str, images: Array) -> Array:
    """The logits (N, K) that a file gives for images (N, C, H, W), on one thread of the CPU."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {name: batch})[0] for batch in _batches(images)])


def mean_kl(expected: Array, got: Array) -> float:
    """KL(softmax(expected) || softmax(got)) in nats, the mean over N; both are logits (N, K).

    >>> import numpy as np
    >>> round(mean_kl(np.array([[np.log(3.0), 0.0]]), np.array([[0.0, 0.0]])), 4)  # 0.75 log 1.5 + 0.25 log 0.5
    0.1308
    """
    import numpy as np

    def log_softmax(logits: Array) -> Array:
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return result

    wanted, given = log_softmax(expected), log_softmax(got)
    return float((np.exp(wanted) * (wanted - given)).sum(axis=1).mean())
