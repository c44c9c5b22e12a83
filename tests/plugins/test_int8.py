"""Static quantization: the graph that comes out, its calibration, and what it leaves behind."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tricksearch_plugins.int8 import Int8

from tricksearch import TrialError


@pytest.fixture
def exported(small_net, to_onnx, bench):
    return to_onnx(small_net(), bench.folder / "net.onnx")


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_the_quantized_graph_is_small_and_says_what_the_float_one_says(method, exported, bench, predict, capfd):
    deployed = Int8(method=method).deploy(exported, bench)
    assert capfd.readouterr() == ("", "")
    assert deployed.input == exported.input
    assert deployed.path.parent == bench.folder
    assert sorted(path.name for path in bench.folder.iterdir()) == ["net.int8.onnx", "net.onnx"]
    assert deployed.path.stat().st_size < 0.5 * exported.path.stat().st_size
    weights = {each.name: each.data_type for each in onnx.load(deployed.path).graph.initializer if len(each.dims) == 4}
    assert weights
    assert set(weights.values()) == {onnx.TensorProto.INT8}
    images = bench.calibration_images(64)
    expected, got = predict(exported, images), predict(deployed, images)
    spread = np.abs(expected - expected.mean(0)).mean()
    error = np.abs(got - expected).mean()
    assert 0 < error < 0.5 * spread


def test_each_method_chooses_its_own_ranges(exported, bench):
    scales = set()
    for method in ("minmax", "entropy", "percentile"):
        graph = onnx.load(Int8(method=method).deploy(exported, bench).path).graph
        value = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
        scales.add(tuple(float(value[node.input[1]]) for node in graph.node if node.op_type == "QuantizeLinear"))
    assert len(scales) == 3


@pytest.mark.parametrize("per_channel", [True, False])
def test_scales_of_weights(per_channel, exported, bench):
    graph = onnx.load(Int8(per_channel=per_channel).deploy(exported, bench).path).graph
    dims = {each.name: list(each.dims) for each in graph.initializer}
    scales = [
        dims[node.input[1]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and len(dims.get(node.input[0], [])) == 4
    ]
    assert scales
    assert all(scale == [] or scale == [1] for scale in scales) != per_channel


def test_seven_bits_where_the_range_is_reduced(exported, bench):
    graph = onnx.load(Int8(reduce_range=True).deploy(exported, bench).path).graph
    weights = [onnx.numpy_helper.to_array(each) for each in graph.initializer if len(each.dims) == 4]
    assert weights
    assert max(int(np.abs(each.astype(int)).max()) for each in weights) <= 64


def test_calibration_sees_all_images_and_only_those(exported, make_bench, predict):
    """Ranges from a bench of dark images cut off the bright ones; ranges from its own images do not."""
    bench = make_bench()
    bright = bench.calibration_images(64)
    error = {}
    for name, share in (("dark", 0.05), ("last", 1.0)):
        images = bright.copy()
        images[:32] *= 0.05
        images[32:] *= share
        bench.calibration_images = lambda count, images=images: images[:count]
        error[name] = np.abs(predict(Int8().deploy(exported, bench), bright) - predict(exported, bright)).mean()
    assert error["dark"] > 2 * error["last"]


def test_few_images_are_enough_and_too_few_an_error(exported, make_bench):
    assert Int8().deploy(exported, make_bench(images=8)).path.exists()
    with pytest.raises(TrialError, match="needs 8 training images or more, and there are 7"):
        Int8().deploy(exported, make_bench(images=7))
