"""The exported file computes what the net computes, for any batch size, or there is an error and no file to trust."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tricksearch.contract import Deployable, TrialError
from tricksearch.trial.measuring.export import export
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME, load
from tricksearch.trial.training.nets import Normalize
from tricksearch.trial.training.resnet import SmallResNet

SHAPE = (3, 16, 16)


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = nn.Sequential(Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), SmallResNet(3, 10, (16, 32), 1))
    net.train()
    for _ in range(3):  # batch norms that have seen something
        net(torch.rand(16, *SHAPE))
    return net


def logits_of(deployable: Deployable, images: Tensor) -> np.ndarray:
    return load(ONNX_RUNTIME, deployable, 1)(images.numpy())


def images_of(batch: int) -> Tensor:
    return torch.rand(batch, *SHAPE, generator=torch.Generator().manual_seed(batch))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_file_computes_what_the_net_computes(net, layout, tmp_path):
    deployable = export(net.to(memory_format=layout), SHAPE, tmp_path / "net.onnx")
    assert deployable == Deployable(tmp_path / "net.onnx")
    net.eval()
    for batch in (1, 3, 64):
        with torch.no_grad():
            expected = net(images_of(batch)).numpy()
        got = logits_of(deployable, images_of(batch))
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=1e-4)
        assert (got.argmax(1) == expected.argmax(1)).all()


def test_the_net_stays_as_it_is(net, tmp_path):
    before = copy.deepcopy(net.state_dict())
    export(net, SHAPE, tmp_path / "net.onnx")
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(SHAPE[0], 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.mean((2, 3)))


class FrozenBatch(Head):
    """To the tracer, the batch size is a number like another."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * float(int(images.shape[0]))


class Branch(Head):
    """Takes another path for a single image, of which the tracer sees nothing."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits if len(images) == 1 else -logits


class Loop(Head):
    """Unrolled for the two images of the tracer."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return torch.stack([logits[index] for index in range(len(images))])


class Lengths(Head):
    """To the tracer, len() is a number."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).reshape(len(images), 2, 5).transpose(1, 2).flatten(1)


class RootMeanSquare(Head):
    """An operator that the tracing exporter does not have, and torch.export takes apart."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.rms_norm(super().forward(images), (10,))


class ThroughNumpy(Head):
    """Leaves torch, so that the tracer sees a constant and torch.export nothing at all."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.from_numpy(np.sort(super().forward(images).detach().numpy(), axis=1))


class Unknown(Head):
    """An operator that ONNX does not have."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.special.bessel_j0(super().forward(images))


class NotANumber(Head):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * float("nan")


@pytest.mark.parametrize("kind", [FrozenBatch, Branch, Loop, Lengths, ThroughNumpy])
def test_a_net_that_one_trace_cannot_tell_is_never_silently_wrong(kind, tmp_path):
    torch.manual_seed(0)
    net = kind().eval()
    try:
        deployable = export(net, SHAPE, tmp_path / "net.onnx")
    except TrialError as error:
        assert "the net does not export to ONNX" in str(error)  # noqa: PT017  # either outcome is right
        return
    for batch in (1, 2, 3, 5, 64):
        with torch.no_grad():
            np.testing.assert_allclose(logits_of(deployable, images_of(batch)), net(images_of(batch)), atol=1e-4)


def test_what_the_tracer_cannot_exports_through_the_fallback(tmp_path):
    net = RootMeanSquare().eval()
    deployable = export(net, SHAPE, tmp_path / "net.onnx")
    with torch.no_grad():
        np.testing.assert_allclose(logits_of(deployable, images_of(7)), net(images_of(7)), atol=1e-4)


@pytest.mark.parametrize("kind", [Unknown, NotANumber])
def test_a_net_that_cannot_be_exported_says_why(kind, tmp_path):
    with pytest.raises(TrialError, match=r"the net does not export to ONNX: \w+: .+; then \w+: .+") as caught:
        export(kind(), SHAPE, tmp_path / "net.onnx")
    assert "\n" not in str(caught.value)
    assert ("bessel" in str(caught.value)) == (kind is Unknown)
    assert ("nan" in str(caught.value)) == (kind is NotANumber)


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_a_full_memory_is_told_as_what_it_is(error, tmp_path):
    class Full(Head):
        def forward(self, images: Tensor) -> Tensor:
            raise error("full")

    with pytest.raises(error):
        export(Full(), SHAPE, tmp_path / "net.onnx")


def test_threads_are_fixed(net, tmp_path):
    deployable = export(net, SHAPE, tmp_path / "net.onnx")
    expected = logits_of(deployable, images_of(5))
    np.testing.assert_allclose(load(ONNX_RUNTIME, deployable, 2)(images_of(5).numpy()), expected, atol=1e-5)
