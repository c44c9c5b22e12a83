"""Device, number format and memory layout of the training."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from tricksearch.contract import InputError
from tricksearch.records.settings import TrainSettings

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Precision:
    """Where and in which format the forward pass computes; the weights stay float32."""

    device: torch.device
    dtype: torch.dtype
    channels_last: bool

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def place(self, net: nn.Module) -> nn.Module:
        """The net on the device, in the layout."""
        net = net.to(self.device)
        return net.to(memory_format=torch.channels_last) if self.channels_last else net

    def layout(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in the layout."""
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def scaler(self) -> torch.amp.GradScaler:
        """The gradient scaler, which acts for float16 alone (its range is too small for gradients)."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)


def choose_precision(settings: TrainSettings) -> Precision:
    """What the settings ask for; 'auto' takes what pays on this machine. Raises InputError for an absent GPU."""
    device = choose_device(settings.device)
    fast_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else _cpu_has_bf16()
    if settings.precision != "auto":
        dtype = DTYPES[settings.precision]
    elif fast_bf16:
        dtype = torch.bfloat16
    else:
        dtype = torch.float16 if device.type == "cuda" else torch.float32
    if settings.channels_last == "auto":
        channels_last = device.type == "cuda" or dtype != torch.float32
    else:
        channels_last = settings.channels_last == "yes"
    return Precision(device, dtype, channels_last)


def choose_device(name: str) -> torch.device:
    """The device of this name; 'auto' is the first GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"the device '{name}' is not there: torch sees {torch.cuda.device_count()} GPUs",
            place="train.device",
            remedy="set it to auto or cpu",
        )
    return device


@functools.cache
def _cpu_has_bf16() -> bool:
    # Without these instructions bf16 is emulated, and slower than float32.
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
