"""Sparsity training: batch norms' scales pushed towards zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from fpgmlab.errors import one_of
from fpgmlab.recovery.extras.extra import Extra

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# From 1 at the start of the sparse part of a training (0) to its end (1).
SCHEDULES = {
    "linear": lambda t: 1 - t,
    "cosine": lambda t: 0.5 * (1 + math.cos(math.pi * t)),
    "constant": lambda t: 1.0,
}


@dataclass(frozen=True)
class GammaL1(Extra):
    """Push the scales of batch norms towards zero: the sparsity training of network slimming.

    Adds the subgradient ``strength * sign(gamma)`` to the gradient of every batch norm's scale (Liu et al., *Learning
    Efficient Convolutional Networks through Network Slimming*, ICCV 2017, eq. 1). Unlike there, the strength falls to
    zero before the end, so that the last epochs train the scales that are left without a pull on them.

    Parameters
    ----------
    strength : float
        At the start; the paper's lambda.
    schedule : {"linear", "cosine", "constant"}
        How it falls from there.
    clean : float
        Share of the steps, at the end, in which it is zero.
    """

    strength: float = 1e-3
    schedule: str = "linear"
    clean: float = 0.2

    def __post_init__(self) -> None:
        if not (self.strength >= 0 and math.isfinite(self.strength)):
            raise ValueError(f"strength must be a number >= 0; got {self.strength}")
        if self.schedule not in SCHEDULES:
            raise ValueError(one_of("schedule", self.schedule, SCHEDULES))
        if not 0 <= self.clean <= 1:
            raise ValueError(f"clean must be a share of the steps, 0 to 1; got {self.clean}")

    def strength_at(self, step: int, steps: int) -> float:
        """Return the strength in step number ``step`` of ``steps`` (from 1)."""
        sparse = (1 - self.clean) * steps
        if step > sparse:
            return 0.0
        return self.strength * SCHEDULES[self.schedule]((step - 1) / sparse)

    def before_step(self, model: nn.Module, step: int, steps: int) -> None:
        strength = self.strength_at(step, steps)
        if strength == 0:
            return
        for module in model.modules():
            if isinstance(module, BATCH_NORMS) and module.weight is not None and module.weight.grad is not None:
                module.weight.grad.add_(module.weight.detach().sign(), alpha=strength)
