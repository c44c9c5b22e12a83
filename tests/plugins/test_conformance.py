"""What every discovered trick must keep, whatever it does. A new file in plugins/ is tested without a line here."""

from __future__ import annotations

import dataclasses
import doctest
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tricksearch import Batch, Choice, Deployable, Float, Int, NotApplicable, Rates, Runtime, Trick
from tricksearch.contract import (
    PRECISIONS,
    STAGE_OF_HOOK,
    InputError,
    broken_contract,
    build,
    card,
    discover,
    domains,
    hooks,
    stages,
)
from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME, source_of
from tricksearch.trial.training.nets import Normalize

TRICKS = discover()
HOOKS = [(name, hook) for name, trick in TRICKS.items() for hook in hooks(trick)]
EDGES = [
    (name, field, value)
    for name, trick in TRICKS.items()
    for field, domain in domains(trick).items()
    if isinstance(domain, Float | Int | Choice)
    for value in (domain.options if isinstance(domain, Choice) else (domain.low, domain.high))
]


class LastWeights:
    def update(self, net: nn.Module) -> None:
        pass

    def final(self, net: nn.Module) -> nn.Module:
        return net


@pytest.fixture
def outcome(small_net, random_batch, random_logits, to_onnx, run):
    """Call one hook as the engine does, and what it returned too; the result as arrays, checked for its kind."""

    def weights_of(net: nn.Module) -> list[Tensor]:
        return [value.detach().clone() for value in net.state_dict().values()]

    def data(trick, bench):
        images = trick.data(bench.train_images(), bench)
        assert images.pixels.dtype == torch.uint8
        assert images.num_classes == bench.num_classes
        assert len(images.pixels) == len(images.labels) > 0
        return [images.pixels, images.labels]

    def model(trick, bench):
        net = trick.model(small_net().train(), bench)
        assert all(module.training for module in net.modules())
        logits = net.eval()(random_batch().images)
        assert logits.shape == (12, bench.num_classes)
        assert torch.isfinite(logits).all()
        return [logits.detach(), *weights_of(net)]

    def optimizer(trick, bench):
        net = small_net()
        steps = trick.optimizer(lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), bench)(net)
        assert all("lr" in group for group in steps.param_groups)
        net(random_batch().images).square().mean().backward()
        steps.step()
        return weights_of(net)

    def schedule(trick, bench):
        rates = trick.schedule(lambda progress: Rates(1.0), bench)
        seen = [rates(step / 50) for step in range(50)]
        assert all(0 <= each.lr <= 100 for each in seen)
        assert max(each.lr for each in seen) > 0.1
        assert all(each.momentum is None or 0 <= each.momentum < 1 for each in seen)
        return [torch.tensor([(each.lr, -1.0 if each.momentum is None else each.momentum) for each in seen])]

    def batch(trick, bench):
        given = []

        def before(batch: Batch) -> Batch:
            given.append(batch)
            return Batch(batch.images.flip(3), batch.targets)

        transform = trick.batch(before, bench)
        out = []
        for step in range(4):
            source = random_batch(seed=step, soft=step % 2 == 1)
            kept = source.images.clone(), source.targets.clone()
            mixed = transform(source)
            assert given.pop() is source, "the transform that the hook was given has to be called"
            assert torch.equal(source.images, kept[0])
            assert torch.equal(source.targets, kept[1])
            assert mixed.images.shape == source.images.shape
            assert mixed.images.dtype == torch.float32
            assert mixed.images.min() >= 0
            assert mixed.images.max() <= 1
            assert mixed.targets.shape == source.targets.shape
            torch.testing.assert_close(mixed.targets.sum(1), torch.ones(12))
            out += [mixed.images, mixed.targets]
        return out

    def loss(trick, bench):
        criterion = trick.loss(lambda logits, batch: nn.functional.cross_entropy(logits, batch.targets), bench)
        out = []
        for scale, soft in ((1.0, False), (1.0, True), (1e4, False)):  # the last: probabilities of exactly 0 and 1
            logits = (random_logits().detach() * scale).requires_grad_()
            value = criterion(logits, random_batch(soft=soft))
            assert value.shape == ()
            value.backward()
            assert torch.isfinite(value)
            assert torch.isfinite(logits.grad).all()
            assert scale > 1 or logits.grad.abs().sum() > 0
            out += [value.detach(), logits.grad]
        return out

    def weights(trick, bench):
        net, kept = small_net(), trick.weights(LastWeights(), bench)
        for _ in range(3):
            kept.update(net)
        return weights_of(kept.final(net))

    def compress(trick, bench):
        net = nn.Sequential(Normalize((0.5,) * 3, (0.25,) * 3), small_net())
        before = weights_of(net)
        images = random_batch().images
        compressed = trick.compress(net, bench)
        assert all(map(torch.equal, before, weights_of(net))), "other variants may share the net that came in"
        assert compressed.eval()(images).shape == (12, bench.num_classes)
        return weights_of(compressed)

    def deployed_by(trick, bench) -> Deployable:
        source = to_onnx(small_net(), bench.folder / "net.onnx")
        before = source.path.read_bytes()
        deployed = trick.deploy(source, bench)
        assert source.path.read_bytes() == before, "other variants may share the file that came in"
        assert deployed.precision in PRECISIONS
        assert all(file.is_file() and file.parent == bench.folder for file in deployed.files)
        return deployed

    def deploy(trick, bench):
        deployed, runtime = deployed_by(trick, bench), trick.runtime(ONNX_RUNTIME, bench)
        if deployed.precision not in runtime.precisions:
            with pytest.raises(NotApplicable, match=f"asks for {deployed.precision}"):
                run(runtime, deployed)
            return [torch.frombuffer(bytearray(deployed.path.read_bytes()), dtype=torch.uint8)]
        logits = run(runtime, deployed)
        assert logits.shape == (5, bench.num_classes)
        assert np.isfinite(logits).all()
        for file in deployed.files:
            file.unlink()
        return [torch.from_numpy(logits.copy())]

    def runtime(trick, bench):
        kept = trick.runtime(ONNX_RUNTIME, bench)
        assert isinstance(kept, Runtime)
        assert kept.packages
        assert set(kept.precisions) <= set(PRECISIONS)
        assert json.loads(json.dumps(dict(kept.options))) == kept.options
        described = f"{dataclasses.replace(kept, load=None)} {source_of(kept)}"
        found = [torch.frombuffer(bytearray(described.encode()), dtype=torch.uint8)]
        if "deploy" not in hooks(type(trick)):  # else it has run there
            found.append(torch.from_numpy(run(kept, deployed_by(trick, bench)).copy()))
        return found

    kinds: dict[str, Any] = {
        kind.__name__: kind
        for kind in (data, model, optimizer, schedule, batch, loss, weights, compress, deploy, runtime)
    }
    assert set(kinds) == set(STAGE_OF_HOOK)
    return lambda hook, trick, bench: kinds[hook](trick, bench)


def skip_if_unavailable(trick: type[Trick]) -> None:
    reason = trick.unavailable()
    if reason:
        pytest.skip(reason)


def test_the_built_in_tricks_are_found():
    assert len(TRICKS) >= 10


@pytest.mark.parametrize("name", TRICKS)
def test_contract(name):
    trick = TRICKS[name]
    assert broken_contract(trick) is None
    assert card(trick).name == name
    assert card(trick).does.endswith(".")
    assert stages(trick) == tuple(dict.fromkeys(STAGE_OF_HOOK[hook] for hook in hooks(trick)))
    values = dataclasses.asdict(trick())
    assert values == dataclasses.asdict(build(trick, values))
    with pytest.raises(dataclasses.FrozenInstanceError):
        trick().anything = 1
    with pytest.raises(InputError, match="not a hyperparameter"):
        build(trick, {"no_such_field": 1})


@pytest.mark.parametrize("name", TRICKS)
def test_a_pure_function_comes_first_and_has_a_doctest(name):
    module = sys.modules[TRICKS[name].__module__]
    tests = doctest.DocTestFinder(exclude_empty=True).find(module)
    assert any(test.examples for test in tests)
    order = list(vars(module))
    functions = [
        key
        for key, value in vars(module).items()
        if getattr(value, "__code__", None) and value.__module__ == module.__name__
    ]
    assert functions
    assert order.index(functions[0]) < order.index(TRICKS[name].__name__)


@pytest.mark.parametrize("name", TRICKS)
def test_no_plugin_imports_another_or_more_than_the_public_api(name):
    text = Path(sys.modules[TRICKS[name].__module__].__file__).read_text()
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith(("import ", "from "))]
    ours = [line for line in lines if "tricksearch" in line or line.startswith("from .") or " plugins" in line]
    assert ours
    assert all(line.startswith(("from tricksearch import ", "from tricksearch.toolkit.")) for line in ours)


@pytest.mark.parametrize(("name", "hook"), HOOKS)
def test_a_seed_gives_one_result_and_the_global_generators_stay(name, hook, outcome, make_bench):
    skip_if_unavailable(TRICKS[name])
    if hook != "deploy":
        outcome(hook, TRICKS[name](), make_bench())  # what is imported on first use may draw
    torch_before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    first = outcome(hook, TRICKS[name](), make_bench())
    assert torch.equal(torch.random.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()
    torch.manual_seed(99)
    second = outcome(hook, TRICKS[name](), make_bench())
    assert len(first) == len(second) > 0
    assert all(map(torch.equal, first, second))


@pytest.mark.parametrize(("name", "field", "value"), EDGES)
def test_every_edge_of_a_domain_runs(name, field, value, outcome, bench):
    skip_if_unavailable(TRICKS[name])
    trick = build(TRICKS[name], {field: value})
    for hook in hooks(TRICKS[name]):
        try:
            outcome(hook, trick, bench)
        except NotApplicable as refusal:
            # This machine need not have what every value asks for, nor need a loss that weighs two classes take ten.
            if hook not in ("runtime", "loss"):
                raise
            pytest.skip(f"refused here: {refusal}")
