"""Quantization-aware training: what it rounds, what it ships, and what it wins back."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from tricksearch_plugins.int8 import Int8
from tricksearch_plugins.qat import STEPS, Qat, round_activation, round_weight

from tricksearch import Images, NotApplicable, TrialError
from tricksearch.contract import in_order
from tricksearch.toolkit.fake_quant import observe, take_weights, with_rounding
from tricksearch.toolkit.processor import Processor
from tricksearch.toolkit.traced import fold_batch_norms


def test_weights_lie_on_127_steps_either_side_of_0_and_gradients_pass():
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    rounded = round_weight(weight)
    steps = rounded.detach().flatten(1) / (weight.detach().flatten(1).abs().amax(1, keepdim=True) / 127)
    torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
    assert steps.abs().amax() == pytest.approx(127, abs=1e-3)
    assert float((rounded - weight).detach().abs().max()) <= float(weight.detach().abs().max()) / 254 + 1e-6
    rounded.sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))


def test_activations_outside_the_range_are_cut_and_get_no_gradient():
    values = torch.tensor([-2.0, -1.0, 0.0, 0.3, 1.0, 5.0], requires_grad=True)
    rounded = round_activation(values, torch.tensor(-1.0), torch.tensor(1.0))
    assert rounded[2] == 0
    torch.testing.assert_close(rounded.detach(), values.detach().clamp(-1, 1), atol=2 / 255, rtol=0)
    rounded.sum().backward()
    assert values.grad.tolist() == [0, 1, 1, 1, 1, 0]


class Digits:
    """A bench whose images are scikit-learn's digits, 8 x 8; 400 of them are held out."""

    def __init__(self, bench) -> None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = torch.from_numpy(digits.images / 16 * 255).to(torch.uint8).unsqueeze(1)
        labels = torch.from_numpy(digits.target)
        self.train, self.held = (pixels[400:], labels[400:]), (pixels[:400].float() / 255, labels[:400])
        self.bench = bench
        bench.train_images = lambda: Images(*self.train, 10)
        bench.fine_tune = self.fine_tune

    def fine_tune(self, net, epochs, lr):
        torch.manual_seed(0)
        optimizer = torch.optim.SGD(net.train().parameters(), lr=0.1 * lr, momentum=0.9, nesterov=True)
        for _ in range(epochs):
            for index in torch.randperm(len(self.train[0])).split(64):
                loss = nn.functional.cross_entropy(net(self.train[0][index].float() / 255), self.train[1][index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return net.eval()

    def accuracy(self, logits: np.ndarray) -> float:
        return 100 * float((logits.argmax(1) == self.held[1].numpy()).mean())


@pytest.fixture
def digits(make_bench):
    with torch.random.fork_rng(devices=[]):
        yield Digits(make_bench(shape=(1, 8, 8)))


@pytest.fixture
def trained(digits, small_net):
    return digits.fine_tune(small_net(shape=(1, 8, 8)), 4, 1.0)


def ship(trick, net, digits, to_onnx):
    bench = digits.bench
    net = trick.compress(net, bench)
    return net, trick.deploy(to_onnx(net, bench.folder / "net.onnx", (1, 8, 8)), bench)


def test_what_ships_is_int8_and_no_worse_than_quantized_after_training(trained, digits, to_onnx, by_definition, capfd):
    images = digits.held[0].numpy()
    _, after = ship(Int8(), trained, digits, to_onnx)
    after_accuracy = digits.accuracy(by_definition(after, images))
    net, aware = ship(Qat(epochs=0.5), trained, digits, to_onnx)
    assert capfd.readouterr() == ("", "")
    assert aware.precision == "quantized"
    graph = onnx.load(aware.path).graph
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in graph.node}
    kinds = {each.name: each.data_type for each in graph.initializer}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            weight = next(each for each in graph.node if each.output[0] == node.input[1])
            assert weight.op_type == "DequantizeLinear"
            assert kinds[weight.input[0]] == onnx.TensorProto.INT8
    accuracy = digits.accuracy(by_definition(aware, images))
    assert after_accuracy > 85
    assert accuracy >= after_accuracy - 2.0  # percentage points; one image in 400 is 0.25
    with torch.no_grad():
        assert accuracy == pytest.approx(digits.accuracy(net(digits.held[0]).numpy()), abs=1.0)


def test_training_wins_back_what_rounding_loses(trained, digits):
    """With weights of three values, -1, 0 and 1 times a scale, where 8 bits would lose too little to see."""

    def ternary(weight):
        scale = weight.detach().flatten(1).abs().mean(1)
        return torch.fake_quantize_per_channel_affine(weight, scale, torch.zeros_like(scale).int(), 0, -1, 1)

    def accuracy(net):
        with torch.no_grad():
            return digits.accuracy(net(digits.held[0]).numpy())

    images = torch.from_numpy(digits.bench.calibration_images(128))
    plain = fold_batch_norms(trained)
    rounding = with_rounding(plain, ternary, round_activation)
    observe(rounding, [images])
    whole, lost = accuracy(trained), accuracy(rounding.eval())
    take_weights(plain, digits.fine_tune(rounding, 4, 0.05))
    again = with_rounding(plain, ternary, round_activation)
    observe(again, [images])
    won = accuracy(again)
    assert lost < whole - 10
    assert won > lost + 0.7 * (whole - lost)


@pytest.mark.parametrize("seven", [False, True])
def test_the_file_computes_what_the_rounding_net_does(seven, trained, digits, to_onnx, predict, by_definition):
    """Same weights, same images for the ranges: what remains is the float32 rounding of values near a half step."""
    plain = fold_batch_norms(trained)
    rounding = with_rounding(plain, functools.partial(round_weight, steps=STEPS[seven]), round_activation)
    observe(rounding, torch.from_numpy(digits.bench.calibration_images(128)).split(32))
    exported = to_onnx(plain, digits.bench.folder / "net.onnx", (1, 8, 8))
    deployed = Qat(reduce_range=seven).deploy(exported, digits.bench)
    with torch.no_grad():
        simulated = rounding(digits.held[0]).numpy()
    got, exact = by_definition(deployed, digits.held[0].numpy()), predict(exported, digits.held[0].numpy())
    # A value near the middle of a step may fall to either side, and more so from layer to layer.
    assert np.abs(got - simulated).mean() < 0.4 * np.abs(got - exact).mean()
    assert (got.argmax(1) == simulated.argmax(1)).mean() > 0.99
    if seven:  # with 8 bits some processors' kernels saturate, and compute something else than the file says
        assert (predict(deployed, digits.held[0].numpy()).argmax(1) == got.argmax(1)).mean() > 0.99


@pytest.mark.parametrize(("has", "steps"), [(["avx2"], 64), (["avx2", "avx512_vnni"], 127)])
def test_it_trains_and_ships_the_form_of_the_processor(has, steps, bench, small_net, to_onnx, monkeypatch):
    monkeypatch.setattr("tricksearch_plugins.qat.this_processor", lambda: Processor("x86_64", frozenset(has)))
    seen = []

    def looks(net, epochs, lr):
        weight = next(module for module in net.modules() if isinstance(module, nn.Conv2d)).weight.detach().flatten(1)
        whole = weight / weight.abs().amax(1, keepdim=True) * steps
        torch.testing.assert_close(whole, whole.round(), atol=1e-3, rtol=0)
        seen.append(net)
        return net

    bench.fine_tune = looks
    net = Qat().compress(small_net(), bench)
    assert seen
    deployed = Qat().deploy(to_onnx(net, bench.folder / "net.onnx"), bench)
    weights = [onnx.numpy_helper.to_array(each) for each in onnx.load(deployed.path).graph.initializer]
    assert max(int(np.abs(each.astype(int)).max()) for each in weights if each.ndim == 4) == steps
    assert f"{7 if steps == 64 else 8} bits" in deployed.note


def test_the_net_that_came_in_stays_and_what_comes_out_is_plain(bench, small_net):
    net = small_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    made = Qat(epochs=0.6, lr=0.02).compress(net, bench)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert bench.tuned == [(2, 0.02)]  # 0.6 x 4 epochs
    assert type(made) is type(net)
    assert {type(module) for module in made.modules()} <= {type(module) for module in net.modules()}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    folded = dict(fold_batch_norms(net).named_parameters())
    moved = [name for name, weight in made.named_parameters() if not torch.equal(weight, folded[name])]
    assert moved == list(folded)


def test_it_acts_after_what_changes_the_shape():
    from tricksearch_plugins.low_rank import LowRank
    from tricksearch_plugins.pruning import Pruning

    order = [type(trick) for trick in in_order([Qat(), LowRank(), Pruning()])]
    assert order == [Pruning, LowRank, Qat]


def test_after_pruning_and_factorising_it_still_ships(bench, small_net, to_onnx, predict):
    from tricksearch_plugins.low_rank import LowRank
    from tricksearch_plugins.pruning import Pruning

    net = small_net()
    for trick in in_order([Qat(), LowRank(rank=0.4), Pruning(ratio=0.3)]):
        net = trick.compress(net, bench)
    deployed = Qat().deploy(to_onnx(net, bench.folder / "net.onnx"), bench)
    assert predict(deployed, bench.calibration_images(5)).shape == (5, 10)


def test_a_path_that_hangs_on_the_input_is_refused(bench):
    class Chooses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 10)

        def forward(self, x):
            x = x.mean((2, 3))
            return self.layer(x) if x.sum() > 0 else x

    with pytest.raises(NotApplicable, match="the net cannot be traced"):
        Qat().compress(Chooses(), bench)


def test_too_few_images(make_bench, small_net):
    with pytest.raises(TrialError, match="needs 8 training images or more, and there are 7"):
        Qat().compress(small_net(), make_bench(images=7))
