"""Exact 8-bit arithmetic: against plain integers, onnx's own evaluator, and torch's convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tricksearch.contract import Deployable
from tricksearch.toolkit.exact_int8 import exact_convolution, exact_logits, exact_product
from tricksearch.toolkit.quantize import Scheme, quantize


def test_products_are_those_of_integers():
    draw = np.random.default_rng(0)
    for inner in (3, 257, 5000):  # past 256 float32 could no longer hold every sum
        left, right = draw.integers(0, 256, (2, 4, inner)), draw.integers(-128, 128, (2, inner, 3))
        assert (exact_product(left, right) == left @ right).all()
    assert exact_product(np.full((1, 5000), 255), np.full((5000, 1), -255)) == -5000 * 255 * 255


@pytest.mark.parametrize(
    ("channels", "groups", "options"),
    [
        (8, 1, {}),
        (8, 2, {"strides": [2, 1], "pads": [1, 0, 2, 1]}),
        (8, 8, {"dilations": [2, 1], "pads": [2, 1, 2, 1]}),
    ],
)
def test_convolutions_are_torch_s(channels, groups, options):
    own = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (20, channels, 9, 7), generator=own)  # more than are taken at once
    weight = torch.randint(-127, 128, (16, channels // groups, 3, 3), generator=own)
    top, left, bottom, right = options.get("pads", [0, 0, 0, 0])
    expected = nn.functional.conv2d(
        nn.functional.pad(pixels.double(), (left, right, top, bottom)),
        weight.double(),
        stride=options.get("strides", 1),
        dilation=options.get("dilations", 1),
        groups=groups,
    )
    found = exact_convolution(pixels.numpy(), weight.numpy(), {**options, "group": groups})
    assert np.array_equal(found, expected.numpy())


class Mixed(nn.Module):
    """Plain, grouped, depthwise, a sum, a layer norm, attention's product of two activations, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 10)

    def forward(self, images):
        first = self.stem(images).relu()
        maps = first + self.depthwise(self.grouped(first).relu())
        rows = self.norm(maps.flatten(2).transpose(1, 2))
        weights = (rows @ rows.transpose(1, 2) / 4).softmax(-1)
        return self.head((weights @ rows).mean(1))


@pytest.fixture
def quantized(tmp_path):
    torch.manual_seed(0)
    images = torch.rand(24, 3, 16, 16).numpy()
    path = tmp_path / "net.onnx"
    torch.onnx.export(
        Mixed().eval(), (torch.zeros(2, 3, 16, 16),), str(path), dynamo=False, input_names=["images"],
        output_names=["logits"], dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
    )  # fmt: skip
    return lambda **scheme: (quantize(Deployable(path), tmp_path, images, Scheme(**scheme)).path, images)


@pytest.mark.parametrize(
    "scheme", [{}, {"per_channel": False}, {"reduce_range": True}, {"mode": "dynamic"}, {"op_types": ("Conv", "Gemm")}]
)
def test_a_whole_graph_is_what_the_standard_says(scheme, quantized):
    from onnx.reference import ReferenceEvaluator

    path, images = quantized(**scheme)
    expected = ReferenceEvaluator(str(path)).run(None, {"images": images})[0]
    found = exact_logits(path, images)
    assert found.shape == (24, 10)
    # onnx's evaluator adds in float32, which may move a value at the middle of a step.
    assert np.abs(found - expected).mean() < 1e-2 * np.abs(expected - expected.mean(0)).mean()
    assert np.median(np.abs(found - expected)) < 1e-5


def test_the_largest_products_are_added_whole(tmp_path):
    """Where kernels that add pairs in 16 bits are off by half: 2 x 255 x 127 becomes 32767."""
    weight = numpy_helper.from_array(np.full((32, 8), 127, np.int8), "w")
    graph = helper.make_graph(
        [helper.make_node("Cast", ["images"], ["x"], to=TensorProto.UINT8),
         helper.make_node("MatMulInteger", ["x", "w"], ["y"]),
         helper.make_node("Cast", ["y"], ["logits"], to=TensorProto.FLOAT)],
        "largest", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [4, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [4, 8])], [weight],
    )  # fmt: skip
    path = tmp_path / "largest.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    assert (exact_logits(path, np.full((4, 32), 255, np.float32)) == 32 * 255 * 127).all()
