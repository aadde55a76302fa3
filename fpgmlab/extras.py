"""Extras of `fit`: small objects with one job each that add a loss term or act after a step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fpgmlab.modules import eval_mode


class Extra:
    """What `fit` asks of an extra; both calls do nothing unless overridden."""

    def loss(self, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor | float:
        """Return a term to add to the task's loss of this batch."""
        return 0.0

    def after_step(self, model: nn.Module, step: int, steps: int) -> None:
        """Act after the optimizer's step number ``step`` of ``steps`` (from 1)."""


@dataclass(frozen=True, eq=False)
class Distill(Extra):
    """Learn from a teacher's logits (Hinton, Vinyals & Dean, 2015, arXiv:1503.02531).

    Adds ``weight * temperature**2 * KL(teacher || student)`` of the softened class probabilities.

    Parameters
    ----------
    teacher : nn.Module
        Usually the unpruned model; it is run in eval mode without gradients and left as it is.
    temperature : float
        Above 1 softens both distributions.
    weight : float
        Of the term, beside the task's own loss.
    """

    teacher: nn.Module
    temperature: float = 4.0
    weight: float = 0.5

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be > 0; got {self.temperature}")
        if not self.weight >= 0:
            raise ValueError(f"weight must be >= 0; got {self.weight}")

    def loss(self, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad(), eval_mode(self.teacher):
            wanted = self.teacher(inputs)
        if wanted.shape != outputs.shape:
            raise ValueError(
                f"the teacher gives {tuple(wanted.shape)}, the student {tuple(outputs.shape)}: "
                "distillation on logits needs the same classes"
            )
        soft = self.temperature
        divergence = F.kl_div(
            F.log_softmax(outputs.float() / soft, dim=1),
            F.log_softmax(wanted.float() / soft, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        return self.weight * soft**2 * divergence
