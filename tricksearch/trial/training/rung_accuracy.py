"""A look at a net in the midst of its training, which goes on afterwards as if nobody had looked."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn

from tricksearch.contract import Images, Weights
from tricksearch.trial.training.precision import Precision
from tricksearch.trial.training.train import to_unit

log = logging.getLogger(__name__)


def accuracy_now(
    net: nn.Module,
    weights: Weights,
    images: Images,
    precision: Precision,
    *,
    batch: int,
    step_aside: Callable[[], None],
    shared: Iterable[object] = (),
) -> float:
    """The top-1 accuracy, in percent of the images, of the net that the training would give if it ended here.

    That is a copy of the net, put through `weights.final`; what a weights hook holds of `shared` is not copied.
    Where it cannot be copied, it is the net itself as the last step left it. An image whose logits are not finite
    counts as wrong. No weight, statistic, mode or random stream of the training changes.
    """
    device = precision.device
    right = torch.zeros((), dtype=torch.int64, device=device)
    # `final` may draw, and so may a net.
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        _as_if_final(net, weights, shared) as view,
        torch.no_grad(),
    ):
        for start in range(0, len(images), batch):
            step_aside()
            pixels, labels = (tensor[start : start + batch].to(device) for tensor in (images.pixels, images.labels))
            with precision.autocast():
                logits = view(precision.layout(to_unit(pixels)))
            right += ((logits.argmax(1) == labels) & torch.isfinite(logits).all(1)).sum()
    return 100.0 * int(right) / len(images)


@contextlib.contextmanager
def _as_if_final(net: nn.Module, weights: Weights, shared: Iterable[object]) -> Iterator[nn.Module]:
    memo = {id(shared_part): shared_part for shared_part in shared}
    try:
        # In one call, so that what the copied weights know of the net is the copied net.
        own, copied = copy.deepcopy((weights, net), memo)
        view = own.final(copied)
    except Exception as error:  # a plugin may hold what cannot be copied, or have nothing to give so early
        log.info("the net is looked at as the last step left it: %s: %s", type(error).__name__, error)
        view = net
    modes = [(module, module.training) for module in view.modules()]
    try:
        yield view.eval()
    finally:
        for module, mode in modes:
            module.training = mode
