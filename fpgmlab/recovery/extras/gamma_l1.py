"""Sparsity training: batch norms' scales pushed towards zero."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from fpgmlab.recovery.extras.extra import Extra
from fpgmlab.recovery.extras.strengths import check_strength, strength_at

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


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

    Raises
    ------
    ValueError
        For options out of range.

    Examples
    --------
    >>> extra = fl.GammaL1(strength=1e-3)
    >>> extra.strength_at(1, 100), extra.strength_at(100, 100)
    (0.001, 0.0)
    """

    strength: float = 1e-3
    schedule: str = "linear"
    clean: float = 0.2

    def __post_init__(self) -> None:
        check_strength(self.strength, self.schedule, self.clean)

    def strength_at(self, step: int, steps: int) -> float:
        """Return the strength in step number ``step`` of ``steps`` (from 1)."""
        return strength_at(self.strength, self.schedule, self.clean, step, steps)

    def leads_elsewhere(self) -> bool:
        """Return True: weights from before have no small scales."""
        return True

    def before_step(self, model: nn.Module, step: int, steps: int) -> None:
        strength = self.strength_at(step, steps)
        if strength == 0:
            return
        for module in model.modules():
            if isinstance(module, BATCH_NORMS) and module.weight is not None and module.weight.grad is not None:
                module.weight.grad.add_(module.weight.detach().sign(), alpha=strength)
