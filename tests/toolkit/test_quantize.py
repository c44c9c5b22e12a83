"""The measure by which a guard judges a layer."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tricksearch.contract import Deployable
from tricksearch.toolkit.quantize import Scheme, mean_kl, predictions, quantize


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(2, 8))
def test_it_is_torch_s_divergence(seed, count, classes):
    own = np.random.default_rng(seed)
    expected, got = (own.normal(size=(count, classes)).astype(np.float32) * 5 for _ in range(2))
    wanted, given_ = (torch.from_numpy(each).double().log_softmax(1) for each in (expected, got))
    divergence = torch.nn.functional.kl_div(given_, wanted, log_target=True, reduction="batchmean")
    assert mean_kl(expected, got) == pytest.approx(float(divergence), rel=1e-6, abs=1e-9)
    assert mean_kl(expected, expected) == 0


def test_logits_of_any_size_give_a_number():
    assert np.isfinite(mean_kl(np.array([[1e4, -1e4]]), np.array([[-1e4, 1e4]])))


class Windows(torch.nn.Module):
    """Attention within windows whose number follows from the batch, as Swin has it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = torch.nn.Conv2d(3, 16, 4, 4), torch.nn.Linear(16, 10)

    def forward(self, images):
        count, channels, height, width = (maps := self.embed(images)).shape
        rows = maps.view(count, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 3, 5, 1)
        windows = rows.reshape(-1, 4, channels)
        groups = windows.shape[0] // count
        mask = torch.zeros(groups, 4, 4)
        scores = (windows @ windows.transpose(1, 2)).view(count, groups, 4, 4) + mask
        mixed = scores.softmax(-1).view(-1, 4, 4) @ windows
        return self.head(mixed.view(count, groups * 4, channels).mean(1))


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_a_graph_whose_shapes_only_onnx_can_follow_is_quantized_in_silence(mode, tmp_path, monkeypatch, capfd):
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    def gives_up(model, *_, **__):  # as the real one ends
        onnx.save_model(model, "sym_shape_infer_temp.onnx", save_as_external_data=True, size_threshold=0)
        raise Exception("Incomplete symbolic shape inference")

    monkeypatch.setattr(SymbolicShapeInference, "infer_shapes", gives_up)
    working_folder = tmp_path / "here"
    working_folder.mkdir()
    monkeypatch.chdir(working_folder)
    path, images = tmp_path / "net.onnx", np.random.default_rng(0).random((16, 3, 16, 16), np.float32)
    torch.manual_seed(0)
    torch.onnx.export(
        Windows().eval(), (torch.zeros(2, 3, 16, 16),), str(path), dynamo=False, input_names=["images"],
        output_names=["logits"], dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
    )  # fmt: skip
    capfd.readouterr()
    made = quantize(Deployable(path), tmp_path, images, Scheme(mode))
    assert capfd.readouterr() == ("", "")
    assert not list(working_folder.iterdir())
    plain, found = (predictions(each, "images", images) for each in (path, made.path))
    assert 0 < np.abs(found - plain).mean() < 0.5 * np.abs(plain - plain.mean(0)).mean()
