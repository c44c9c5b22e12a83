"""Which form of a quantized net a processor computes right, for processors that need not be here."""

from __future__ import annotations

import pytest
from torch import nn

from tricksearch.toolkit.processor import Processor, form_note, seven_bits, slow_because

AVX2, AVX512, VNNI = (
    Processor("x86_64", frozenset(has)) for has in (["avx2"], ["avx2", "avx512f", "avx512bw"], ["avx2", "avx_vnni"])
)
ARM = Processor("aarch64", frozenset(["asimd", "asimddp"]))


@pytest.mark.parametrize(("processor", "seven"), [(AVX2, True), (AVX512, True), (VNNI, False), (ARM, False)])
def test_seven_bits_only_where_the_processor_would_saturate(processor, seven):
    assert seven_bits("auto", "static", processor)[0] == seven
    assert not seven_bits("auto", "dynamic", processor)[0]  # unsigned weights: other kernels
    for asked in (True, False):
        assert seven_bits(asked, "static", processor)[0] == asked


def test_the_sentence_gives_the_form_and_the_reason():
    assert "7 bits: this processor has no VNNI" in seven_bits("auto", "static", AVX512)[1]
    assert "8 bits: a processor of the kind aarch64" in seven_bits("auto", "static", ARM)[1]
    assert seven_bits(False, "static", AVX2)[1].endswith("which this processor without VNNI does not add exactly")
    assert seven_bits(False, "static", VNNI)[1].endswith("as the recipe asks")


@pytest.fixture
def graph(tmp_path):
    import torch

    def write(net):
        path = tmp_path / "net.onnx"
        torch.onnx.export(net.eval(), (torch.zeros(1, 64, 8, 8),), str(path), dynamo=False)
        return path

    return write


def test_what_makes_int8_slow(graph):
    wide = graph(nn.Sequential(nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3)))
    assert slow_because(wide, "static", VNNI) == []
    assert slow_because(wide, "dynamic", AVX2) == [
        "the dynamic form finds the range of each activation anew",
        "the processor has no VNNI",
    ]
    narrow = graph(nn.Sequential(nn.Conv2d(64, 64, 3, groups=64), nn.Conv2d(64, 8, 1), nn.Conv2d(8, 8, 3)))
    assert slow_because(narrow, "static", VNNI) == [
        "1 of 3 convolutions are depthwise",
        "2 of 3 convolutions have fewer than 32 channels on a side",
    ]
    assert form_note("why", slow_because(narrow, "static", VNNI)).startswith("why; it may be slower than float: 1 of 3")
