"""A placebo: it stands in the recipe and does nothing.

Paper: none; the control arm of an experiment.
Use when: what calls something real is to be tested.
Avoid when: anything is to get better.
Cost: none.
"""

from __future__ import annotations

from dataclasses import dataclass

from tricksearch import Loss, Trick, Workbench


@dataclass(frozen=True)
class PlaceboIdle(Trick):
    """Gives each loss back as it is."""

    def loss(self, loss: Loss, bench: Workbench) -> Loss:
        """The same loss."""
        return loss
