"""INT8 after training: the graph that comes out, its calibration, its guard, and what it leaves behind.

What a graph says is taken from its definition, not from the kernels of this machine: those saturate on some
processors. Where the kernels themselves are part of a test, as the guard's costs are, its weights have 7 bits, which
every processor adds exactly.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from tricksearch_plugins.int8 import Int8, too_costly

from tricksearch import NotApplicable, TrialError
from tricksearch.toolkit.processor import Processor
from tricksearch.toolkit.quantize import Scheme, quantize


@pytest.fixture
def exported(small_net, to_onnx, bench):
    return to_onnx(small_net(), bench.folder / "net.onnx")


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_the_quantized_graph_is_small_and_says_what_the_float_one_says(
    method, exported, bench, predict, by_definition, capfd
):
    deployed = Int8(method=method).deploy(exported, bench)
    assert capfd.readouterr() == ("", "")
    assert deployed.input == exported.input
    assert deployed.precision == "quantized"
    assert deployed.path.parent == bench.folder
    assert sorted(path.name for path in bench.folder.iterdir()) == ["net.onnx", "net.quantized.onnx"]
    assert deployed.path.stat().st_size < 0.5 * exported.path.stat().st_size
    weights = {each.name: each.data_type for each in onnx.load(deployed.path).graph.initializer if len(each.dims) == 4}
    assert weights
    assert set(weights.values()) == {onnx.TensorProto.INT8}
    images = bench.calibration_images(16)
    expected, got = predict(exported, images), by_definition(deployed, images)
    spread = np.abs(expected - expected.mean(0)).mean()
    error = np.abs(got - expected).mean()
    assert 0 < error < 0.5 * spread


@pytest.mark.parametrize("reduce_range", ["auto", True])
def test_the_kernels_compute_what_the_graph_says(reduce_range, exported, bench, predict, by_definition):
    """On every processor: weights of 7 bits do not saturate, and by default those of 8 are for processors with VNNI."""
    deployed = Int8(reduce_range=reduce_range).deploy(exported, bench)
    images = bench.calibration_images(16)
    expected, got = by_definition(deployed, images), predict(deployed, images)
    error = np.abs(got - expected).mean()
    rounding = np.abs(expected - predict(exported, images)).mean()
    assert error < 0.1 * rounding  # a value near the middle of a step may fall to either side


OLD, NEW = Processor("x86_64", frozenset({"avx2"})), Processor("x86_64", frozenset({"avx2", "avx_vnni"}))


@pytest.mark.parametrize(
    ("processor", "values", "largest", "why"),
    [
        (OLD, {}, 64, "7 bits: this processor has no VNNI"),
        (NEW, {}, 127, "8 bits: this processor has VNNI"),
        (NEW, {"reduce_range": True}, 64, "7 bits, as the recipe asks"),
        (OLD, {"reduce_range": False}, 127, "this processor without VNNI does not add exactly"),
    ],
)
def test_the_processor_chooses_the_form_and_the_note_says_why(
    processor, values, largest, why, exported, bench, monkeypatch
):
    monkeypatch.setattr("tricksearch_plugins.int8.this_processor", lambda: processor)
    deployed = Int8(**values).deploy(exported, bench)
    weights = [onnx.numpy_helper.to_array(each) for each in onnx.load(deployed.path).graph.initializer]
    assert max(int(np.abs(each.astype(int)).max()) for each in weights if each.ndim == 4) == largest
    assert why in deployed.note
    assert ("the processor has no VNNI" in deployed.note) == (processor is OLD)


def test_the_dynamic_form_has_unsigned_weights_everywhere(exported, bench, monkeypatch):
    monkeypatch.setattr("tricksearch_plugins.int8.this_processor", lambda: OLD)
    deployed = Int8(mode="dynamic").deploy(exported, bench)
    kinds = {each.data_type for each in onnx.load(deployed.path).graph.initializer if len(each.dims) == 4}
    assert kinds == {onnx.TensorProto.UINT8}
    assert "their kernels add exactly on every processor" in deployed.note
    assert "the dynamic form finds the range of each activation anew" in deployed.note


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


def test_calibration_sees_all_images_and_only_those(exported, make_bench, predict, by_definition):
    """Ranges from a bench of dark images cut off the bright ones; ranges from its own images do not."""
    bench = make_bench()
    bright = bench.calibration_images(64)
    error = {}
    for name, share in (("dark", 0.05), ("last", 1.0)):
        images = bright.copy()
        images[:32] *= 0.05
        images[32:] *= share
        bench.calibration_images = lambda count, images=images: images[:count]
        deployed = Int8().deploy(exported, bench)
        error[name] = np.abs(by_definition(deployed, bright[:16]) - predict(exported, bright[:16])).mean()
    assert error["dark"] > 2 * error["last"]


def test_few_images_are_enough_and_too_few_an_error(exported, make_bench):
    assert Int8().deploy(exported, make_bench(images=8)).path.exists()
    with pytest.raises(TrialError, match="needs 8 training images or more, and there are 7"):
        Int8().deploy(exported, make_bench(images=7))


def ops(deployed) -> list[str]:
    return [node.op_type for node in onnx.load(deployed.path).graph.node]


def test_dynamic_computes_each_convolution_and_the_head_in_whole_numbers(
    exported, bench, predict, by_definition, capfd
):
    deployed = Int8(mode="dynamic").deploy(exported, bench)
    assert capfd.readouterr() == ("", "")
    assert deployed.precision == "quantized"
    count = ops(exported)
    found = ops(deployed)
    assert found.count("ConvInteger") == count.count("Conv") == 6
    assert found.count("MatMulInteger") == count.count("Gemm") == 1
    assert {"Conv", "Gemm", "MatMul"}.isdisjoint(found)
    assert deployed.path.stat().st_size < 0.5 * exported.path.stat().st_size
    images = bench.calibration_images(16)
    expected, got = predict(exported, images), by_definition(deployed, images)
    assert 0 < np.abs(got - expected).mean() < 0.5 * np.abs(expected - expected.mean(0)).mean()


def test_dynamic_needs_no_images_but_its_guard_does(exported, make_bench):
    assert Int8(mode="dynamic").deploy(exported, make_bench(images=2)).path.exists()
    with pytest.raises(TrialError, match="needs 8 training images"):
        Int8(mode="dynamic", guard=0.1).deploy(exported, make_bench(images=2))


SPOILED = "/stages/stages.0/conv2/Conv"


@pytest.fixture
def spoiled(small_net, to_onnx, bench):
    """One convolution reads a channel that is never on, with weights so large that all others round to 0."""
    net = small_net()
    block = net.stages[0]
    with torch.no_grad():
        block.norm1.weight[0], block.norm1.bias[0] = 0.0, -1.0
        block.conv2.weight[:, 0] = 1000.0
    return to_onnx(net, bench.folder / "net.onnx")


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_the_guard_measures_each_layer_and_leaves_the_costly_one_in_float(mode, spoiled, bench):
    costs = {}
    images = bench.calibration_images(64)
    seven_bits = Scheme(mode, reduce_range=True)
    quantize(spoiled, bench.folder, images, seven_bits, leave=lambda each: costs.update(each) or [])
    assert len(costs) == 7  # six convolutions and the head
    assert min(costs.values()) > 0
    assert max(costs, key=costs.get) == SPOILED
    second = sorted(costs.values())[-2]
    assert costs[SPOILED] > 10 * second
    guarded = Int8(mode=mode, reduce_range=True, guard=2 * second).deploy(spoiled, bench)
    weights = [each.data_type for each in onnx.load(guarded.path).graph.initializer if len(each.dims) == 4]
    assert len(weights) == 6
    assert weights.count(onnx.TensorProto.FLOAT) == 1
    assert guarded.precision == "quantized"


def test_the_guard_keeps_the_predictions(spoiled, bench, predict):
    images = bench.calibration_images(64)
    exact = predict(spoiled, images)
    error = {}
    for guard in (0.0, 1e-5):
        deployed = Int8(guard=guard, reduce_range=True).deploy(spoiled, bench)
        error[guard] = np.abs(predict(deployed, images) - exact).mean()
    assert error[1e-5] < 0.2 * error[0.0]


def test_a_guarded_layer_of_any_kind_stays(exported, bench):
    """A linear layer too, which the dynamic quantizer writes as another operator first."""
    for mode in ("static", "dynamic"):
        images = bench.calibration_images(64)
        kept = quantize(exported, bench.folder, images, Scheme(mode), leave=lambda costs: [*costs][-1:])
        assert {"Gemm", "MatMul"} & set(ops(kept))
        assert "MatMulInteger" not in ops(kept)


def test_the_cost_of_a_layer_is_the_divergence_of_the_predictions(exported, bench, predict):
    """Recomputed with torch from the files themselves, for a graph of which only one layer is quantized."""
    images = bench.calibration_images(64)
    seen = {}
    every = Scheme(per_channel=False, reduce_range=True)
    quantize(exported, bench.folder, images, every, leave=lambda costs: seen.update(costs) or [])
    layer = max(seen, key=seen.get)
    alone = quantize(
        exported, bench.folder, images, every, leave=lambda costs: [each for each in costs if each != layer]
    )
    wanted, given = (torch.from_numpy(predict(each, images)).log_softmax(1) for each in (exported, alone))
    divergence = float(torch.nn.functional.kl_div(given, wanted, log_target=True, reduction="batchmean"))
    # `alone` also rounds the additions and the pooling, which the cost of a layer does not count.
    assert 0 < seen[layer] < 2 * divergence


def test_a_guard_that_nothing_passes_is_an_error(exported, bench):
    with pytest.raises(NotApplicable, match="none of them rounds within the bound"):
        Int8(guard=1e-12).deploy(exported, bench)


def test_only_a_guard_hides_what_comes_out():
    assert Int8().foreseeable()
    assert not Int8(guard=0.01).foreseeable()


def test_a_cost_at_the_bound_is_within_it():
    assert too_costly({"a": 0.1, "b": 0.2}, 0.1) == ["b"]


def test_the_same_file_every_time(exported, bench):
    first = Int8().deploy(exported, bench).path.read_bytes()
    assert Int8().deploy(exported, bench).path.read_bytes() == first
