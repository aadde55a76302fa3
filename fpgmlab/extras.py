"""Extras of `fit`: small objects with one job each that add a loss term or act after a step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fpgmlab.modules import eval_mode

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# From 1 at the start of the sparse part of a training (0) to its end (1).
SCHEDULES = {
    "linear": lambda t: 1 - t,
    "cosine": lambda t: 0.5 * (1 + math.cos(math.pi * t)),
    "constant": lambda t: 1.0,
}


class Extra:
    """What `fit` asks of an extra; each call does nothing unless overridden."""

    def loss(self, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor | float:
        """Return a term to add to the task's loss of this batch."""
        return 0.0

    def before_step(self, model: nn.Module, step: int, steps: int) -> None:
        """Act on the gradients before the optimizer's step number ``step`` of ``steps`` (from 1)."""

    def after_step(self, model: nn.Module, step: int, steps: int) -> None:
        """Act on the weights after the optimizer's step number ``step`` of ``steps`` (from 1)."""


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
            raise ValueError(f"schedule must be one of {', '.join(map(repr, SCHEDULES))}; not {self.schedule!r}")
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
