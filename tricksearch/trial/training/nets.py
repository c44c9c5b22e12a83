"""Nets by name: any timm model, and a small residual net that needs no timm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tricksearch.contract import InputError, nearest
from tricksearch.records.settings import NetSettings
from tricksearch.trial.training.resnet import SmallResNet
from tricksearch.trial.training.visibility import unseen

BUILT_IN = "resnet_small"
WIDTHS = (32, 64, 128)
FAMILIES = (
    *("resnet18", "resnet50", "densenet121", "mobilenetv3_small_100", "efficientnet_b0", "convnext_atto"),
    *("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"),
)
MOST_UNSEEN = 0.1  # of the pixels; at odd sizes many nets leave out the last row and column of a map
SIZES = (64, 128, 224, 384)  # of images that an error may advise, beside the next multiple of 32


class Normalize(nn.Module):
    """Images in [0, 1] -> zero mean and unit variance over the training images, channel by channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Shape in and out (N, C, H, W)."""
        return (images - self.mean) / self.std


def check_net(settings: NetSettings, place: str = "net.name") -> None:
    """Raise InputError where no net has this name or the settings do not fit it.

    The tag of a timm name stands for weights, and all weights are random here: it is refused.
    """
    _check_known(settings, place)
    plain, _, tag = settings.name.partition(".")
    if tag:
        raise InputError(
            f"'{tag}' in '{settings.name}' names trained weights, and here every net starts from random ones",
            place=place,
            remedy=f"write '{plain}'",
        )


def _check_known(settings: NetSettings, place: str = "net.name") -> None:
    if settings.name == BUILT_IN:
        if settings.stem != "standard":
            raise InputError(f"'{BUILT_IN}' has a small stem already", place="net.stem", remedy="leave 'stem' out")
        return
    for key in ("widths", "blocks"):
        if getattr(settings, key) is not None:
            raise InputError(
                f"'{key}' belongs to the net '{BUILT_IN}', not to '{settings.name}'",
                place=f"net.{key}",
                remedy=f"leave '{key}' out, or name '{BUILT_IN}'",
            )
    import timm

    if not timm.is_model(settings.name):
        hint = nearest(settings.name, [BUILT_IN, *timm.list_models()])
        if not hint.startswith("did"):  # the first of a thousand names are all of one family
            hint = f"all are listed by timm.list_models(); among them are {', '.join(FAMILIES)}"
        raise InputError(f"there is no net '{settings.name}'", place=place, remedy=hint)


def build_net(settings: NetSettings, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """An untrained net: images (N, C, H, W) -> logits (N, num_classes). Raises InputError where it cannot be.

    The weights come from torch's global random generator; the caller seeds it.
    """
    _check_known(settings)
    try:
        return _built(settings, num_classes, input_shape)
    except InputError as error:
        if error.remedy:
            raise
        remedy = _remedy(settings, num_classes, input_shape)
        raise InputError(error.rule, place=error.place, remedy=remedy) from error


def check_seen(
    net: nn.Module, settings: NetSettings, num_classes: int, input_shape: tuple[int, int, int]
) -> tuple[str, ...]:
    """Raise InputError where rows or columns of pixels that a net leaves out are more than a tenth of its images.

    `net` is the built one. Returns what there is to say where it leaves out less.
    """
    rows, columns = unseen(net, input_shape)
    if not rows and not columns:
        return ()
    _, height, width = input_shape
    share = 1 - (height - rows) * (width - columns) / (height * width)
    rule = (
        f"'{settings.name}' leaves out {share:.0%} of the pixels of images of {height} x {width}: {rows} rows and "
        f"{columns} columns never change its output"
    )
    if share > MOST_UNSEEN:
        raise InputError(rule, place="net.name", remedy=_remedy(settings, num_classes, input_shape))
    return (rule,)


def _remedy(settings: NetSettings, num_classes: int, input_shape: tuple[int, int, int]) -> str:
    """What lets a net of this name be built: another stem, another size of the images; each was tried."""
    channels, *sides = input_shape
    stem: Literal["standard", "small"] = "small" if settings.stem == "standard" else "standard"
    ways = []
    if _works(settings.model_copy(update={"stem": stem}), num_classes, input_shape):
        ways.append("set 'net.stem' to small" if stem == "small" else "leave 'net.stem' out")
    # The stem as it is where a net can have it, else the other one.
    stems = [settings] if settings.stem == "standard" else [settings, settings.model_copy(update={"stem": "standard"})]
    for form in () if ways else stems:
        sizes = sorted({-(-max(sides) // 32) * 32, *(size for size in SIZES if size > max(sides))})
        if size := next((size for size in sizes if _works(form, num_classes, (channels, size, size))), None):
            ways.append(f"{'' if form is settings else 'leave net.stem out and '}set data.size to {size}")
            break
    return " or ".join([*ways, "choose another net"])


def _works(settings: NetSettings, num_classes: int, input_shape: tuple[int, int, int]) -> bool:
    """Whether a net can be built so, and sees nearly all of its images."""
    if settings.name == BUILT_IN:
        return False
    try:
        with torch.random.fork_rng(devices=[]):
            net = _built(settings, num_classes, input_shape)
            rows, columns = unseen(net, input_shape)
    except InputError:
        return False
    _, height, width = input_shape
    return (height - rows) * (width - columns) >= (1 - MOST_UNSEEN) * height * width


def _built(settings: NetSettings, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """The net. Raises InputError without a remedy where it cannot be."""
    channels, height, width = input_shape
    net: nn.Module
    if settings.name == BUILT_IN:
        net = SmallResNet(channels, num_classes, settings.widths or WIDTHS, settings.blocks or 1)
    else:
        net = _timm_net(settings.name, num_classes, input_shape)
        if settings.stem == "small":
            _small_stem(net, settings.name)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            logits = net.eval()(torch.zeros(2, channels, height, width))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"'{settings.name}' cannot take images of {channels} x {height} x {width}: {error}", place="net.name"
        ) from error
    if tuple(logits.shape) != (2, num_classes):
        raise InputError(
            f"'{settings.name}' is no classifier: its output has the shape {tuple(logits.shape)}",
            place="net.name",
            remedy="choose another net",
        )
    return net.train()


def _timm_net(name: str, num_classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    import timm

    options: dict[str, Any] = {}
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        options["img_size"] = input_shape[1:]
    try:
        net: nn.Module = timm.create_model(
            name, pretrained=False, in_chans=input_shape[0], num_classes=num_classes, **options
        )
    except Exception as error:
        raise InputError(
            f"timm cannot build '{name}' for images of {input_shape}: {error}", place="net.name"
        ) from error
    return net


def _small_stem(net: nn.Module, name: str) -> None:
    """Let the stem keep the image's size: stride 1, a 3x3 kernel in place of a larger one, no pooling."""
    first = next(((path, module) for path, module in net.named_modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first[1].kernel_size[0] == first[1].stride[0]:
        raise InputError(f"'{name}' has no convolutional stem that could keep the image's size", place="net.stem")
    path, stem = first
    if stem.kernel_size[0] > 3:
        conv = nn.Conv2d(stem.in_channels, stem.out_channels, 3, 1, 1, bias=stem.bias is not None)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        net.set_submodule(path, conv)
    else:
        stem.stride = (1, 1)
    for path, module in net.named_modules():
        if isinstance(module, nn.MaxPool2d):
            net.set_submodule(path, nn.Identity())
            break
