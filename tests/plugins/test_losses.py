"""Label smoothing, focal loss and distillation against torch, kornia and the papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from tricksearch_plugins.distillation import Distillation, imitation
from tricksearch_plugins.focal import Focal, focal
from tricksearch_plugins.label_smoothing import LabelSmoothing, smooth

from tricksearch import Batch, NotApplicable, Trick
from tricksearch.contract import in_order


def cross_entropy(logits, batch):
    return F.cross_entropy(logits, batch.targets)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.3])
def test_label_smoothing_is_that_of_torch(epsilon, bench, random_logits, random_batch):
    logits, batch = random_logits(), random_batch()
    ours = LabelSmoothing(epsilon=epsilon).loss(cross_entropy, bench)(logits, batch)
    torch.testing.assert_close(ours, F.cross_entropy(logits, batch.targets.argmax(1), label_smoothing=epsilon))


def test_label_smoothing_of_soft_targets_is_that_of_torch(bench, random_logits, random_batch):
    logits, batch = random_logits(), random_batch(soft=True)
    ours = LabelSmoothing(epsilon=0.2).loss(cross_entropy, bench)(logits, batch)
    torch.testing.assert_close(ours, F.cross_entropy(logits, batch.targets, label_smoothing=0.2))


@given(st.floats(0, 0.3), st.integers(2, 100), st.sampled_from(["all", "others"]))
def test_smoothed_targets_are_probabilities_with_the_mass_where_it_belongs(epsilon, classes, form):
    row = smooth(torch.eye(classes, dtype=torch.float64)[:1], epsilon, form)[0]
    given_away = epsilon / (classes if form == "all" else classes - 1)
    assert row.sum().item() == pytest.approx(1)
    assert row[1:].tolist() == pytest.approx([given_away] * (classes - 1))
    assert row[0].item() == pytest.approx(1 - given_away * (classes - 1))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize(("classes", "alpha"), [(10, None), (2, None), (2, 0.25), (2, 0.9)])
def test_focal_is_that_of_kornia(gamma, classes, alpha, random_logits):
    from kornia.losses import focal_loss

    logits, labels = random_logits(classes=classes, count=40), torch.arange(40) % classes
    theirs = focal_loss(logits, labels, alpha=alpha, gamma=gamma, reduction="none").sum(1).mean()
    ours = focal(logits, F.one_hot(labels, classes).float(), gamma, alpha)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits))


def test_focal_without_focus_is_cross_entropy_of_soft_targets_too(random_logits, random_batch):
    logits, batch = random_logits(), random_batch(soft=True)
    torch.testing.assert_close(focal(logits, batch.targets, gamma=0.0), cross_entropy(logits, batch))


def test_focal_weighs_neither_of_two_classes_whichever_comes_first(bench, random_logits):
    bench.num_classes = 2
    logits, labels = random_logits(classes=2, count=40), (torch.arange(40) % 3 == 0).long()

    def loss(alpha, swapped):
        targets = F.one_hot(1 - labels if swapped else labels, 2).float()
        batch = Batch(torch.zeros(40, 1), targets)
        return Focal(**alpha).loss(cross_entropy, bench)(logits.flip(1) if swapped else logits, batch)

    torch.testing.assert_close(loss({}, False), loss({}, True))
    torch.testing.assert_close(loss({}, False), focal(logits, F.one_hot(labels, 2).float(), gamma=2.0))
    torch.testing.assert_close(loss({"alpha": 0.2}, False), loss({"alpha": 0.8}, True))
    torch.testing.assert_close(loss({"alpha": 0.2}, False), 2 * focal(logits, F.one_hot(labels, 2).float(), 2.0, 0.2))


def test_focal_refuses_an_alpha_that_it_would_not_apply(bench, random_logits, random_batch):
    logits, batch = random_logits(), random_batch()
    assert Focal().loss(cross_entropy, bench)(logits, batch) == focal(logits, batch.targets, gamma=2.0)
    with pytest.raises(NotApplicable, match=r"alpha 0\.1 weighs one class against another, and there are 10"):
        Focal(alpha=0.1).loss(cross_entropy, bench)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 8.0])
def test_imitation_is_the_divergence_of_torch(temperature, random_logits):
    student, teacher = random_logits(1), random_logits(2).detach()
    log_student, log_teacher = ((each / temperature).log_softmax(1) for each in (student, teacher))
    theirs = F.kl_div(log_student, log_teacher, log_target=True, reduction="batchmean") * temperature**2
    torch.testing.assert_close(imitation(student, teacher, temperature), theirs)


def test_imitation_by_hand():
    p = 1 / (1 + math.e)  # softmax([4, 0] / 4) is (1 - p, p); the student is even
    expected = 16 * ((1 - p) * math.log(2 * (1 - p)) + p * math.log(2 * p))
    assert imitation(torch.zeros(3, 2), torch.tensor([[4.0, 0.0]] * 3), 4.0).item() == pytest.approx(expected, rel=1e-5)


def test_distillation_blends_by_alpha_and_asks_for_the_teacher_once(bench, random_logits, random_batch, small_net):
    criterion = Distillation(temperature=2.0, alpha=0.3, teacher="resnet18", teacher_epochs=2.0).loss(
        cross_entropy, bench
    )
    for seed in (1, 2):
        logits, batch = random_logits(seed), random_batch(seed)
        taught = small_net(seed=7)(batch.images)
        expected = 0.7 * cross_entropy(logits, batch) + 0.3 * imitation(logits, taught, 2.0)
        torch.testing.assert_close(criterion(logits, batch), expected)
    assert bench.taught == [("resnet18", 2.0)]


def test_distillation_alone_does_not_look_at_the_labels(bench, random_logits, random_batch):
    criterion = Distillation(alpha=1.0).loss(cross_entropy, bench)
    batch = random_batch()
    other = Batch(batch.images, batch.targets.flip(0))
    assert not torch.equal(batch.targets, other.targets)
    assert criterion(random_logits(), batch) == criterion(random_logits(), other)


class OwnLoss(Trick):
    """Somebody else's loss, whose name comes last in the alphabet."""

    __module__ = "folder.zz_own"
    claims = "loss.base"


def test_the_tags_put_distillation_outside_smoothing_and_smoothing_outside_the_base_loss():
    for base in (Focal(), OwnLoss()):
        tricks = [Distillation(), LabelSmoothing(), base]
        assert in_order(tricks) == in_order(tricks[::-1]) == [base, LabelSmoothing(), Distillation()]
    assert in_order([OwnLoss(), Distillation()])[1] == Distillation()
