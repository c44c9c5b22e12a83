"""A runtime whose 8-bit sums overflow is found out by its logits, on a processor that need not be here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tricksearch.contract import Deployable
from tricksearch.toolkit import exact_int8
from tricksearch.toolkit.exact_int8 import exact_logits
from tricksearch.toolkit.quantize import Scheme, predictions, quantize
from tricksearch.trial.measuring.arithmetic import SaturatedError, check_arithmetic


def saturating_product(left, right):
    """What x86 without VNNI computes: pairs of products are added in 16 bits, which end at 32767."""
    if left.shape[-1] % 2:
        left = np.concatenate([left, np.zeros_like(left[..., :1])], -1)
        right = np.concatenate([right, np.zeros_like(right[..., :1, :])], -2)
    even = left[..., ::2, None] * right[..., None, ::2, :]
    odd = left[..., 1::2, None] * right[..., None, 1::2, :]
    return (even + odd).clip(-32768, 32767).sum(-2).astype(np.float64)


@pytest.fixture
def files(tmp_path):
    """A net of large weights as a float graph, and quantized with weights of 8 or 7 bits; and its images."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 10),
    )  # fmt: skip
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.weight.copy_(layer.weight.sign() * 0.2 * (1 + torch.rand_like(layer.weight) / 4))
    images = torch.rand(32, 3, 12, 12).numpy()
    path = tmp_path / "net.onnx"
    torch.onnx.export(
        net.eval(), (torch.zeros(2, 3, 12, 12),), str(path), dynamo=False, input_names=["images"],
        output_names=["logits"], dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
    )  # fmt: skip

    def make(seven):
        return quantize(Deployable(path), tmp_path, images, Scheme(reduce_range=seven)).path, path, images

    return make


def by(product, path, images, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(exact_int8, "exact_product", product)
        logits = exact_logits(path, images)
    return lambda start, stop: logits[start:stop]


def test_saturation_is_a_failure_with_a_name_and_a_remedy(files, monkeypatch):
    quantized, plain, images = files(seven=False)
    overflowing = by(saturating_product, quantized, images, monkeypatch)
    with pytest.raises(SaturatedError, match=r"kernels of Old saturate .* of 32 images keep .*weights of 7 bits"):
        check_arithmetic(overflowing, quantized, plain, images, "Old")


def test_seven_bits_do_not_saturate(files, monkeypatch):
    quantized, plain, images = files(seven=True)
    logits = by(saturating_product, quantized, images, monkeypatch)
    assert np.array_equal(logits(0, 32), exact_logits(quantized, images))
    check_arithmetic(logits, quantized, plain, images, "Old")


def test_what_rounds_in_another_way_passes(files):
    """The float file itself, and exact arithmetic whose error has another sign, are no worse than exact arithmetic."""
    quantized, plain, images = files(seven=False)
    start, exact = predictions(plain, "images", images), exact_logits(quantized, images)
    for other in (start, exact, 2 * start - exact):
        check_arithmetic(lambda *_, other=other: other, quantized, plain, images, "Other")
