"""Knowledge distillation: let the net imitate the softened outputs of a trained teacher.

Paper: Hinton et al. 2015, arXiv 1503.02531; a net that teaches itself, Furlanello et al. 2018, 1805.04770.
Use when: a larger net does clearly better on these images, and the deployed one has to stay small.
Avoid when: the teacher is no better than the net, or was trained with smoothed labels (Müller et al. 2019).
Cost: training the teacher once for a study, and its forward pass in every step; nothing when deployed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tricksearch import Batch, Float, Loss, Net, Trick, Workbench

if TYPE_CHECKING:
    from torch import Tensor


def imitation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over N, a scalar; logits are (N, K).

    T^2 keeps the size of the gradients, which fall as 1 / T^2.

    >>> import torch
    >>> imitation(torch.zeros(1, 2), torch.tensor([[4.0, 0.0]]), temperature=4.0)
    tensor(1.7751)
    """
    import torch

    wanted = torch.log_softmax(teacher.float() / temperature, dim=1)
    given = torch.log_softmax(student.float() / temperature, dim=1)
    return temperature**2 * (wanted.exp() * (wanted - given)).sum(dim=1).mean()


@dataclass(frozen=True)
class Distillation(Trick):
    """Blends the loss, whatever it is by then, with the imitation of a teacher."""

    after = ("loss.base", "loss.targets")

    temperature: Annotated[float, Float(1.0, 8.0)] = 4.0  # divides the logits; higher shows more of the small ones
    alpha: Annotated[float, Float(0.1, 1.0)] = 0.7  # weight of the teacher; the labels keep 1 - alpha
    teacher: Annotated[str | dict[str, Any], Net()] = ""  # a net or a recipe; "" is the study's own net
    teacher_epochs: Annotated[float, Float(0.25, 4.0, search=False)] = 1.0  # multiple of the study's epochs

    def loss(self, loss: Loss, bench: Workbench) -> Loss:
        """Wrap the loss."""
        import torch

        teacher = bench.teacher(self.teacher, self.teacher_epochs)

        def distilled(logits: Tensor, batch: Batch) -> Tensor:
            with torch.no_grad():
                taught = teacher(batch.images)
            return (1 - self.alpha) * loss(logits, batch) + self.alpha * imitation(logits, taught, self.temperature)

        return distilled
