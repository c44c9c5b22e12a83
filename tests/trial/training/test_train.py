"""Training: the same seed gives the same bits, off means off, and each hook is called with what is documented."""

import pytest
import torch
from torch import nn

from tricksearch.contract import STAGE_OF_HOOK, Diverged, Rates, discover
from tricksearch.records.settings import TrainSettings
from tricksearch.trial.training.train import plain_schedule, set_rates

DRAWING = """
def batch(self, transform, bench):
    own = bench.generator("drawing")
    def drawn(batch):
        torch.rand(100, generator=own)
        return transform(batch)
    return drawn
"""
DROPOUT = """
def model(self, net, bench):
    net.pool = torch.nn.Sequential(net.pool, torch.nn.Dropout(0.5))
    return net
"""


@pytest.mark.parametrize("train", [{}, {"precision": "fp32"}, {"precision": "bf16"}, {"precision": "fp16"}])
def test_a_seed_gives_the_same_weights_twice(trained, same, tiny_recipe, train):
    recipe = tiny_recipe(train={"augment": "flip_crop", **train})
    first = trained(recipe)
    torch.manual_seed(123)  # what another trial of this process may leave
    assert same(first, trained(recipe))
    assert not same(first, trained(recipe, seed=1))
    assert all(torch.isfinite(value).all() for value in first.values())


def test_training_changes_the_weights_and_learns(make_bench, tiny_recipe):
    bench = make_bench(
        tiny_recipe(data={"train_images": 200}, net={"widths": [16, 32]}, train={"epochs": 8, "augment": "none"})
    )
    net = bench.build_net()
    images = bench.train_images()
    net = bench.train(net)
    assert not net.training
    with torch.no_grad():
        guesses = net(images.pixels.float() / 255).argmax(1)
    assert (guesses == images.labels).float().mean() > 0.9


def test_off_means_off(trained, same, tiny_recipe, tricks):
    folder = tricks(drawing=DRAWING, dropout=DROPOUT)
    (folder / "drawing.py").write_text((folder / "drawing.py").read_text() + "\ntorch.manual_seed(7)\n")
    recipe = tiny_recipe()
    baseline = trained(recipe, registry=discover())
    assert same(baseline, trained(recipe, registry=discover([folder])))
    with_plugins = tiny_recipe(plugins=[str(folder)])
    assert same(baseline, trained(with_plugins))
    assert not same(baseline, trained(tiny_recipe(plugins=[str(folder)], tricks={"dropout": {}})))


def test_what_one_trick_draws_does_not_shift_another(trained, same, tiny_recipe, tricks):
    folder = str(tricks(drawing=DRAWING, dropout=DROPOUT))
    others = {"mixup": {}, "dropout": {}}
    without = trained(tiny_recipe(plugins=[folder], tricks=others))
    assert same(without, trained(tiny_recipe(plugins=[folder], tricks={"drawing": {}, **others})))
    assert same(trained(tiny_recipe()), trained(tiny_recipe(plugins=[folder], tricks={"drawing": {}})))


def test_a_hook_that_draws_globally_does_not_shift_dropout(trained, same, tiny_recipe, tricks):
    folder = tricks(
        dropout=DROPOUT,
        careless="""
        def loss(self, loss, bench):
            torch.rand(3)
            return loss
        """,
    )
    kept = {"dropout": {}}
    without = trained(tiny_recipe(plugins=[str(folder)], tricks=kept))
    assert same(without, trained(tiny_recipe(plugins=[str(folder)], tricks={"careless": {}, **kept})))


def test_generators_are_named_streams(make_bench):
    def draws(bench, name):
        return torch.rand(8, generator=bench.generator(name)).tolist()

    first, second, other = make_bench(), make_bench(), make_bench(seed=1)
    assert draws(first, "a") == draws(first, "a") == draws(second, "a")
    assert draws(first, "a") != draws(first, "b")
    assert draws(first, "a") != draws(other, "a")


def test_calibration_images_are_training_images_and_always_the_same(make_bench):
    bench = make_bench()
    images = bench.calibration_images(10)
    assert images.shape == (10, 1, 8, 8)
    assert images.dtype == "float32"
    assert (images == bench.calibration_images(10)).all()
    pool = {each.numpy().tobytes() for each in bench.train_images().pixels.float() / 255}
    assert all(each.tobytes() in pool for each in images)
    assert len(bench.calibration_images(10_000)) == 40


def test_a_loss_that_is_not_finite_diverges_in_its_epoch(trained, tiny_recipe, tricks):
    folder = tricks(
        breaking="""
        def loss(self, loss, bench):
            calls = []
            def broken(logits, batch):
                calls.append(1)
                return loss(logits, batch) * (float("nan") if len(calls) == 6 else 1.0)
            return broken
        """
    )
    recipe = tiny_recipe(plugins=[str(folder)], tricks={"breaking": {}}, train={"epochs": 4})  # two steps an epoch
    with pytest.raises(Diverged, match="the training loss was not finite in epoch 3 of 4"):
        trained(recipe)


RECORDER = """
def data(self, images, bench):
    SEEN.append(("data", images, bench.train_images()))
    return Images(images.pixels[:36], images.labels[:36], images.num_classes)

def model(self, net, bench):
    SEEN.append(("model", net.training, bench.train_images()))
    return net

def optimizer(self, build, bench):
    SEEN.append(("optimizer", build, None))
    return build

def schedule(self, schedule, bench):
    SEEN.append(("schedule", schedule, None))
    return schedule

def batch(self, transform, bench):
    SEEN.append(("batch", transform, None))
    def seen(batch):
        SEEN.append(("a batch", batch, None))
        return transform(batch)
    return seen

def loss(self, loss, bench):
    SEEN.append(("loss", loss, None))
    def seen(logits, batch):
        SEEN.append(("logits", logits.detach(), batch))
        return loss(logits, batch)
    return seen

def weights(self, weights, bench):
    SEEN.append(("weights", weights, None))
    return weights

def compress(self, net, bench):
    SEEN.append(("compress", net, net.training))
    return net

def deploy(self, deployable, bench):
    SEEN.append(("deploy", deployable, deployable.path.stat().st_size))
    return deployable

def runtime(self, runtime, bench):
    SEEN.append(("runtime", runtime, None))
    return runtime
"""


def test_every_hook_is_called_in_order_with_what_is_documented(trial, tricks, seen):
    folder = str(tricks(recorder=RECORDER))
    keys = {"plugins": [folder], "tricks": {"recorder": {}}, "train": {"batch_size": 12, "threads": 2}}
    record = trial(**keys, reraise=True)
    events = seen(discover([folder]), "recorder")
    order = [name for name, *_ in events if name in STAGE_OF_HOOK]
    assert order == list(STAGE_OF_HOOK)
    of = {name: (thing, more) for name, thing, more in events}

    images, asked = of["data"]
    assert asked is images
    assert (images.pixels.dtype, images.pixels.shape) == (torch.uint8, (40, 1, 8, 8))
    assert (images.labels.dtype, images.labels.shape, images.num_classes) == (torch.int64, (40,), 10)
    training, left = of["model"]
    assert len(left) == 36, "what the data hook left"
    assert training
    assert sum(name == "a batch" for name, *_ in events) == 3, "three steps of 12 images"
    for _, batch, _ in (event for event in events if event[0] == "a batch"):
        assert (batch.images.dtype, batch.images.shape) == (torch.float32, (12, 1, 8, 8))
        assert 0 <= batch.images.min() < batch.images.max() <= 1
        assert batch.targets.shape == (12, 10)
        assert torch.equal(batch.targets.sum(1), torch.ones(12))
    logits, batch = of["logits"]
    assert (logits.dtype, logits.shape, batch.targets.shape) == (torch.float32, (12, 10), (12, 10))
    assert isinstance(of["schedule"][0](0.0), Rates)
    assert isinstance(of["optimizer"][0](nn.Linear(2, 2)), torch.optim.Optimizer)
    compressed, training = of["compress"]
    assert not training
    assert compressed(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert of["deploy"][0].path.name == "model.onnx"
    assert of["deploy"][1] == record.file_bytes
    assert of["runtime"][0].packages == ("onnxruntime",)


def test_the_data_hook_s_images_are_what_is_trained_on(make_bench, tiny_recipe, tricks, seen):
    folder = str(tricks(recorder=RECORDER))
    bench = make_bench(tiny_recipe(plugins=[folder], tricks={"recorder": {}}, train={"batch_size": 7}))
    assert len(bench.train_images()) == 36
    assert bench.steps_per_epoch == 5
    few = make_bench(tiny_recipe(plugins=[folder], tricks={"recorder": {}}, train={"batch_size": 128}))
    assert few.steps_per_epoch == 1


AVERAGE = """
decay: Annotated[float, Float(0.0, 1.0)] = 0.9

def weights(self, weights, bench):
    import copy
    decay = self.decay
    class Average:
        net = None
        def update(self, net):
            weights.update(net)
            if self.net is None:
                self.net = copy.deepcopy(net)
            with torch.no_grad():
                for mine, last in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
                    mine.copy_(decay * mine + (1 - decay) * last)
            SEEN.append([value.clone() for value in net.state_dict().values()])
        def final(self, net):
            return self.net
    return Average()

def deploy(self, deployable, bench):
    (HERE / "shipped.onnx").write_bytes(deployable.path.read_bytes())
    return deployable
"""


def test_averaged_weights_are_what_goes_on(trained, tiny_recipe, tricks, seen):
    folder = str(tricks(average=AVERAGE))
    final = trained(tiny_recipe(plugins=[folder], tricks={"average": {"decay": 0.75}}, train={"epochs": 3}))
    steps = seen(discover([folder]), "average")
    assert len(steps) == 6
    assert not torch.equal(steps[0][2], steps[-1][2])
    expected = [value.clone() for value in steps[0]]
    for step in steps:
        for mine, last in zip(expected, step, strict=True):
            mine.copy_(0.75 * mine + 0.25 * last)
    assert all(map(torch.equal, expected, final.values()))


def test_averaged_weights_are_what_ships(trial, trained, tiny_recipe, tricks):
    from tricksearch import Deployable
    from tricksearch.trial.measuring.runtimes import ONNX_RUNTIME, load

    folder = tricks(average=AVERAGE)
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).numpy()
    shipped = []
    for decay in (0.0, 0.9):
        trial(plugins=[str(folder)], tricks={"average": {"decay": decay}}, train={"epochs": 3}, reraise=True)
        shipped.append(load(ONNX_RUNTIME, Deployable(folder / "shipped.onnx"), 1)(images))
    assert abs(shipped[0] - shipped[1]).max() > 0.01


def test_another_optimizer_with_momentum_in_its_betas(trained, tiny_recipe, tricks, seen):
    folder = str(
        tricks(
            adam="""
            def optimizer(self, build, bench):
                def adam(net):
                    weights = list(net.parameters())
                    groups = [{"params": weights[:1], "lr": 0.004}, {"params": weights[1:]}]
                    made = torch.optim.AdamW(groups, lr=0.002, betas=(0.9, 0.99), weight_decay=0.01)
                    made.register_step_post_hook(lambda made, *_: SEEN.append(
                        [(group["lr"], group["betas"]) for group in made.param_groups]))
                    return made
                return adam

            def schedule(self, schedule, bench):
                return lambda progress: Rates(1.0 - progress, 0.8 + 0.1 * progress)
            """
        )
    )
    recipe = tiny_recipe(plugins=[folder], tricks={"adam": {}}, train={"epochs": 2})
    trained(recipe)
    steps = seen(discover([folder]), "adam")
    assert len(steps) == 4
    for step, (first, second) in enumerate(steps):
        progress = step / 4
        # Each group's rate is a multiple of its own: the study's is for the optimizer that it was chosen for.
        assert first == (pytest.approx(0.004 * (1 - progress)), (pytest.approx(0.8 + 0.1 * progress), 0.99))
        assert second == (pytest.approx(0.002 * (1 - progress)), (pytest.approx(0.8 + 0.1 * progress), 0.99))


def test_momentum_is_set_and_none_leaves_it():
    steps = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.2, momentum=0.9)
    set_rates(steps, Rates(0.5, 0.8))
    set_rates(steps, Rates(0.25))
    assert (steps.param_groups[0]["lr"], steps.param_groups[0]["momentum"]) == (0.05, 0.8)


def test_the_rate_falls_to_a_tenth_at_each_milestone(trained, tiny_recipe, tricks, seen):
    folder = str(
        tricks(
            watch="""
            def optimizer(self, build, bench):
                def watched(net):
                    made = build(net)
                    made.register_step_post_hook(lambda made, *_: SEEN.append(made.param_groups[0]["lr"]))
                    return made
                return watched
            """
        )
    )
    train = {"epochs": 4, "lr": 0.2, "milestones": [0.25, 0.5]}
    trained(tiny_recipe(plugins=[folder], tricks={"watch": {}}, train=train))
    rates = seen(discover([folder]), "watch")
    assert rates == pytest.approx([0.2] * 2 + [0.02] * 2 + [0.002] * 4)
    schedule = plain_schedule(TrainSettings(milestones=(0.5,)))
    assert [schedule(0.0), schedule(0.499), schedule(0.5)] == [Rates(1.0), Rates(1.0), Rates(0.1)]


def test_fine_tuning_goes_from_its_rate_to_zero_with_the_recipe_s_batches(make_bench, tiny_recipe, tricks, seen):
    folder = str(
        tricks(
            watch="""
            def optimizer(self, build, bench):
                def watched(net):
                    made = build(net)
                    made.register_step_post_hook(lambda made, *_: SEEN.append(made.param_groups[0]["lr"]))
                    return made
                return watched

            def batch(self, transform, bench):
                return lambda batch: (SEEN.append("batch"), transform(batch))[1]

            def schedule(self, schedule, bench):
                return lambda progress: Rates(100.0)
            """
        )
    )
    bench = make_bench(tiny_recipe(plugins=[folder], tricks={"watch": {}}))
    net = bench.fine_tune(bench.build_net(), 2, 0.5)
    events = seen(discover([folder]), "watch")
    assert events.count("batch") == 4
    assert [each for each in events if each != "batch"] == pytest.approx([0.05, 0.0375, 0.025, 0.0125])
    assert not net.training
