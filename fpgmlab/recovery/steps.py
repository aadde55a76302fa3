"""One step of a training: the loss of a batch, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fpgmlab.common.batches import on_device
from fpgmlab.common.calling import call
from fpgmlab.common.layout import bears_channels_last
from fpgmlab.common.modules import device_of
from fpgmlab.recovery.extras.extra import RunningExtra, judged_of
from fpgmlab.tasks.task import Task

WARMUP = 0.05  # share of the steps in which the learning rate rises from zero


class Steps:
    """The steps of a training: optimizer, learning rate, mixed precision and extras work together.

    Attributes
    ----------
    total : int
        How many there will be.
    judged : nn.Module
        What is evaluated and kept: the model, or what an extra gives in its place.

    The parameters are those of `fpgmlab.fit`.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        extras: Sequence[RunningExtra],
        total: int,
        optimizer: str,
        lr: float,
        weight_decay: float,
        amp: str,
    ) -> None:
        self.total = total
        self._model, self._task, self._extras = model, task, extras
        self._device = device_of(model)
        self._channels_last: bool | None = None  # once there are inputs
        parameters = [*model.parameters(), *(p for extra in extras for p in extra.parameters())]
        self._optimizer = _optimizer(parameters, optimizer, lr, weight_decay)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, _warm_cosine(total))
        self._dtype = _autocast_dtype(self._device, amp)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self._dtype is torch.float16)
        for extra in extras:
            extra.optimized_by(self._optimizer)
        self.judged = judged_of(extras, model)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self._schedule.get_last_lr()[0])

    def loss(self, inputs: Any, targets: Any) -> Tensor:
        """Return the task's loss of a batch and the extras' terms, a scalar with its gradient's graph."""
        if self._channels_last is None:
            self._channels_last = bears_channels_last(self._model, inputs)
        inputs = on_device(inputs, self._device, channels_last=self._channels_last)
        targets = on_device(targets, self._device)
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None):
            outputs = call(self._model, inputs)
            loss = self._task.loss(outputs, targets)
            for extra in self._extras:
                loss = loss + extra.loss(self._model, inputs, outputs, targets)
        return loss

    def step(self, loss: Tensor, number: int) -> None:
        """Change the weights by a loss; ``number`` counts from 1."""
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        for extra in self._extras:
            extra.before_step(self._model, number, self.total)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        for extra in self._extras:
            extra.after_step(self._model, number, self.total)


def _optimizer(parameters: Iterable[nn.Parameter], name: str, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    parameters = [p for p in parameters if p.requires_grad]
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr, weight_decay=weight_decay)
    return torch.optim.SGD(parameters, lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)


def _warm_cosine(steps: int) -> Callable[[int], float]:
    warm = max(1, round(steps * WARMUP))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return factor


def _autocast_dtype(device: torch.device, amp: str) -> torch.dtype | None:
    if amp == "off" or (amp == "auto" and device.type != "cuda"):
        return None
    if amp == "bfloat16" or torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float16
