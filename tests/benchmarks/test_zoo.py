"""A sample of the zoo: nets of few layers from the families that tricks found hardest."""

from __future__ import annotations

import pytest

from benchmarks.zoo import FAILS, NOT_APPLICABLE, WORKS, table, tricks_of_the_net, try_out


def test_every_trick_of_net_compression_and_file_is_tried():
    assert {"int8", "qat", "pruning", "low_rank", "half_precision", "se"} <= set(tricks_of_the_net())


@pytest.mark.parametrize("net", ["resnest14d", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_pruning_and_int8_act_on_split_attention_transformers_and_depthwise_convolutions(net):
    assert [(cell.trick, cell.outcome, cell.why) for cell in try_out(net, ["pruning", "int8"])] == [
        ("pruning", WORKS, ""),
        ("int8", WORKS, ""),
    ]


def test_what_does_not_apply_says_why_in_a_sentence():
    (cell,) = try_out("vit_tiny_patch16_224", ["se"])
    assert cell.outcome == NOT_APPLICABLE
    assert "no residual block of the net lacks squeeze-and-excitation" in cell.why


def test_what_fails_is_a_cell_with_its_reason(monkeypatch):
    def raises(*_):
        raise RuntimeError("it broke")

    monkeypatch.setattr("tricksearch.trial.rehearsal.rehearse", raises)
    cells = try_out("resnet18", ["int8"])
    assert (cells[0].outcome, cells[0].why) == (FAILS, "RuntimeError: it broke")
    assert "| resnet18 | fails (1) |" in table(cells)
