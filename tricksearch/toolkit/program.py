"""Programs of torch.export: what PyTorch's own runtimes are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tricksearch.contract import TrialError

if TYPE_CHECKING:
    import torch
    from torch import nn


def program_of(net: nn.Module, input_shape: tuple[int, int, int], dtype: torch.dtype) -> Any:
    """The net as a torch.export program that computes in `dtype`: images (N, C, H, W) -> logits, both float32.

    The batch size is free. `net` is converted in place. Raises TrialError where torch.export cannot
    follow the net, or the dtype is no float's.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
    >>> program = program_of(net, (3, 2, 2), torch.bfloat16)
    >>> logits = program.module()(torch.zeros(5, 3, 2, 2))
    >>> logits.shape, logits.dtype, net[1].weight.dtype
    (torch.Size([5, 2]), torch.float32, torch.bfloat16)
    """
    import torch

    class Inside(torch.nn.Module):
        """Takes and gives float32."""

        def __init__(self) -> None:
            super().__init__()
            self.net = net.to(dtype)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.net(images.to(dtype)).float()
            return logits

    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    try:
        with torch.no_grad():
            # Two images: a batch of one would be taken for a constant.
            return torch.export.export(Inside().eval(), (torch.zeros(2, *input_shape),), dynamic_shapes=({0: batch},))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise TrialError(f"torch.export cannot follow the net: {str(error).strip().splitlines()[0]}") from error
