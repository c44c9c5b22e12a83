"""Runtimes: the one that runs a deployable where no trick brings another, and the source that ships with a file."""

from __future__ import annotations

import ast
import inspect

from tricksearch.contract import Deployable, NotApplicable, Predictor, Runtime, source_text


def load_onnx_runtime(path: str, threads: int, precision: str) -> Predictor:
    """The graph in ONNX Runtime on the CPU; the graph itself says in which precision it computes."""
    import os

    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is imported
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


ONNX_RUNTIME = Runtime(
    "ONNX Runtime, CPU", load_onnx_runtime, packages=("onnxruntime",), precisions=("fp32", "fp16", "quantized")
)


def load(runtime: Runtime, deployable: Deployable, threads: int) -> Predictor:
    """The deployable's predictor, in this process. Raises NotApplicable where the runtime cannot take the file."""
    check_fit(runtime, deployable)
    return runtime.load(str(deployable.path), runtime.threads or threads, deployable.precision, **dict(runtime.options))


def check_fit(runtime: Runtime, deployable: Deployable) -> None:
    """Raise NotApplicable where the runtime does not read the file or does not compute in its precision."""
    if deployable.format != runtime.format:
        raise NotApplicable(f"{runtime.name} reads {runtime.format}, and the deployable is {deployable.format}")
    if deployable.precision not in runtime.precisions:
        raise NotApplicable(
            f"{runtime.name} computes in {', '.join(runtime.precisions)}, and the deployable asks for "
            f"{deployable.precision}"
        )


def source_of(runtime: Runtime) -> str:
    """The text of the runtime's `load`, which stands on its own. Raises NotApplicable where it has none.

    >>> source_of(ONNX_RUNTIME).splitlines()[0]
    'def load_onnx_runtime(path: str, threads: int, precision: str) -> Predictor:'
    """
    function, module = runtime.load, source_text(runtime.load.__module__)
    try:
        text = inspect.getsource(function) if module is None else _function_in(module, function.__name__)
    except (OSError, TypeError) as error:
        raise NotApplicable(f"the source of the runtime '{runtime.name}' cannot be found: {error}") from error
    if not text.startswith("def ") or function.__closure__:
        raise NotApplicable(
            f"the `load` of the runtime '{runtime.name}' must be a function of its module, which needs nothing else"
        )
    return text


def _function_in(module: str, name: str) -> str:
    for node in ast.parse(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == name and not node.decorator_list:
            return ast.get_source_segment(module, node) or ""
    return ""
