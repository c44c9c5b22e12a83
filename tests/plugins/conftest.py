"""A small but real workbench, and what hooks are called with: enough to prove a trick without the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tricksearch import Batch, Deployable, Images, Runtime
from tricksearch.trial.measuring.runner import Runner
from tricksearch.trial.training.resnet import SmallResNet

SHAPE = (3, 16, 16)
CLASSES = 10


class SmallBench:
    """Keeps the protocol `Workbench`, with a few random images and nets that train in milliseconds."""

    def __init__(self, folder: Path, seed: int = 0, shape: tuple[int, int, int] = SHAPE, images: int = 64) -> None:
        self.device = torch.device("cpu")
        self.seed, self.folder, self.input_shape = seed, folder, shape
        self.num_classes, self.epochs, self.steps_per_epoch = CLASSES, 4, 2
        self.images = images
        self.tuned: list[tuple[int, float]] = []  # the (epochs, lr) of each fine-tuning
        self.taught: list[tuple[object, float]] = []  # the (spec, epochs) of each teacher

    def generator(self, name: str) -> torch.Generator:
        digest = hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
        return torch.Generator(self.device).manual_seed(int.from_bytes(digest[:6], "big"))

    def train_images(self) -> Images:
        own = torch.Generator().manual_seed(1)
        pixels = torch.randint(0, 256, (self.images, *self.input_shape), dtype=torch.uint8, generator=own)
        return Images(pixels, torch.arange(self.images) % self.num_classes, self.num_classes)

    def fine_tune(self, net: nn.Module, epochs: int, lr: float) -> nn.Module:
        self.tuned.append((epochs, lr))
        images = self.train_images()
        optimizer = torch.optim.SGD(net.train().parameters(), lr=0.1 * lr)
        for _ in range(epochs):
            loss = nn.functional.cross_entropy(net(images.pixels / 255), images.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return net.eval()

    def teacher(self, spec: str | dict[str, Any], epochs: float) -> nn.Module:
        self.taught.append((spec, epochs))
        return small_net(seed=7, shape=self.input_shape).requires_grad_(False)

    def net(self) -> nn.Module:
        return small_net(shape=self.input_shape)

    def calibration_images(self, count: int) -> np.ndarray[Any, Any]:
        images: np.ndarray[Any, Any] = (self.train_images().pixels[:count].float() / 255).numpy()
        return images


def small_net(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> nn.Module:
    """The built-in net, in evaluation mode; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallResNet(shape[0], CLASSES, (32, 64), 1).eval()


def random_batch(seed: int = 0, count: int = 12, shape: tuple[int, int, int] = SHAPE, soft: bool = False) -> Batch:
    """Random images in [0, 1]; the targets are one-hot, or soft ones."""
    own = torch.Generator().manual_seed(seed)
    targets = torch.eye(CLASSES)[torch.randint(0, CLASSES, (count,), generator=own)]
    if soft:
        targets = 0.7 * targets + 0.3 * torch.rand(count, CLASSES, generator=own).softmax(1)
    return Batch(torch.rand(count, *shape, generator=own), targets)


def random_logits(seed: int = 3, count: int = 12, classes: int = CLASSES) -> Tensor:
    own = torch.Generator().manual_seed(seed)
    return torch.randn(count, classes, generator=own).mul(3).requires_grad_()


def to_onnx(net: nn.Module, path: Path, shape: tuple[int, int, int] = SHAPE) -> Deployable:
    """The net as a graph with a free batch size."""
    torch.onnx.export(
        net.eval(),
        (torch.zeros(2, *shape),),
        str(path),
        dynamo=False,
        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
    )
    return Deployable(path)


def predict(deployable: Deployable, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(deployable.path), options, providers=["CPUExecutionProvider"])
    logits: np.ndarray[Any, Any] = session.run(None, {deployable.input: images})[0]
    return logits


def by_definition(deployable: Deployable, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The logits that the standard says an ONNX graph has: those of onnx's own evaluator, the same on any processor."""
    from onnx.reference import ReferenceEvaluator

    logits: np.ndarray[Any, Any] = ReferenceEvaluator(str(deployable.path)).run(None, {deployable.input: images})[0]
    return logits


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """The engine's own runner, on the images of a bench of the usual shape."""
    made = Runner(SmallBench(tmp_path_factory.mktemp("runner")).train_images().pixels.numpy())
    yield made
    made.close()


@pytest.fixture
def run(runner: Runner) -> Callable[..., np.ndarray[Any, Any]]:
    """Logits (5, K) of a bench's first images by a runtime, in the runner's process; a batch of one agrees."""

    def logits(runtime: Runtime, deployable: Deployable, threads: int = 1) -> np.ndarray[Any, Any]:
        runner.load(runtime, deployable, threads)
        found = runner.logits(0, 5)
        scale = max(1.0, float(np.abs(found).max()))
        np.testing.assert_allclose(runner.logits(2, 3), found[2:3], atol=0.02 * scale)
        return found

    return logits


@pytest.fixture(autouse=True, scope="session")
def compiler_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What TorchInductor compiles is kept for the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        patch.setenv("AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL", "O0")  # quick to compile; the kernels stay as they are
        yield


# Test files cannot import this one: each helper comes to them as a fixture.


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[..., SmallBench]:
    return lambda **options: SmallBench(tmp_path, **options)


@pytest.fixture
def bench(tmp_path: Path) -> SmallBench:
    return SmallBench(tmp_path)


@pytest.fixture(name="small_net")
def _small_net() -> Callable[..., nn.Module]:
    return small_net


@pytest.fixture(name="random_batch")
def _random_batch() -> Callable[..., Batch]:
    return random_batch


@pytest.fixture(name="random_logits")
def _random_logits() -> Callable[..., Tensor]:
    return random_logits


@pytest.fixture(name="to_onnx")
def _to_onnx() -> Callable[..., Deployable]:
    return to_onnx


@pytest.fixture(name="predict")
def _predict() -> Callable[..., np.ndarray[Any, Any]]:
    return predict


@pytest.fixture(name="by_definition")
def _by_definition() -> Callable[..., np.ndarray[Any, Any]]:
    return by_definition
