"""One step of a training: the loss of a batch, and what follows from it."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fpgmlab.common.batches import examples_in, on_device
from fpgmlab.common.calling import call, taking
from fpgmlab.common.layout import learns_channels_last
from fpgmlab.common.modules import device_of
from fpgmlab.recovery.extras.extra import RunningExtra, judged_of
from fpgmlab.recovery.fitting.compiling import compiled
from fpgmlab.recovery.fitting.options import Options
from fpgmlab.recovery.fitting.processes import Processes
from fpgmlab.tasks.loading import is_countable
from fpgmlab.tasks.shuffling import part_of
from fpgmlab.tasks.task import Task

WARMUP = 0.05  # share of the steps in which the learning rate rises from zero
LAUNCHED = {"bf16": torch.bfloat16, "fp16": torch.float16}  # as accelerate launch --mixed_precision has them


class Steps:
    """The steps of a training: optimizer, learning rate, mixed precision, extras and processes work together.

    Attributes
    ----------
    total : int
        How many there will be.
    judged : nn.Module
        What is evaluated and kept: the model, or what an extra gives in its place.

    Parameters
    ----------
    model, task, options
        As of `fpgmlab.fit`.
    extras : sequence of RunningExtra
    total : int
    processes : Processes
    compile : bool
        Whether the forward pass shall be compiled.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        extras: Sequence[RunningExtra],
        total: int,
        options: Options,
        processes: Processes,
        compile: bool = False,
    ) -> None:
        self.total = total
        self._model, self._task, self._extras = model, task, extras
        self._options, self._processes = options, processes
        self._device = device_of(model)
        self._network = model  # compiled once there are inputs, if asked for
        self._compile = compile
        self._channels_last: bool | None = None  # once there are inputs
        more = [p for extra in extras for p in extra.parameters()]
        processes.same(more)
        self._parameters = [p for p in [*model.parameters(), *more] if p.requires_grad]
        self._optimizer = _optimizer(self._parameters, options)
        self._factor = _warm_cosine(total)
        self._done = 0
        self._set_lr()
        self._dtype = autocast_dtype(self._device, options.amp)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self._dtype is torch.float16)
        for extra in extras:
            extra.optimized_by(self._optimizer)
        self.judged = judged_of(extras, model)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self._options.lr * self._factor(self._done)

    def gradients(self, inputs: Any, targets: Any, halt: bool = False) -> tuple[Tensor, bool]:
        """Give the parameters the gradients of a batch; return its loss, and whether any process wants a halt.

        The loss is the task's with the extras' terms, a scalar.
        """
        self._optimizer.zero_grad(set_to_none=True)
        losses = []
        for part_inputs, part_targets, weight in self._parts(inputs, targets):
            if self._compile:
                self._compile = False
                self._network = compiled(
                    self._model,
                    lambda network: self._loss(network, part_inputs, part_targets),  # noqa: B023 - at once
                )
            loss = self._loss(self._network, part_inputs, part_targets)
            loss = loss if weight == 1 else loss * weight
            self._scaler.scale(loss).backward()
            losses.append(loss.detach())
        mean = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        return self._processes.averaged(self._parameters, mean, halt)

    def step(self, number: int) -> None:
        """Change the weights by the gradients; ``number`` counts from 1."""
        self._scaler.unscale_(self._optimizer)
        for extra in self._extras:
            extra.before_step(self._model, number, self.total)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._done += 1
        self._set_lr()
        for extra in self._extras:
            extra.after_step(self._model, number, self.total)

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes with the steps, but the model itself."""
        return {
            "done": self._done,
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "extras": [extra.state_dict() for extra in self._extras],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._done = state["done"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        for extra, own in zip(self._extras, state["extras"], strict=True):
            extra.load_state_dict(own)

    def _loss(self, network: nn.Module, inputs: Any, targets: Any) -> Tensor:
        first = self._channels_last is None and network is self._model  # a compiler has errors of its own
        if self._channels_last is None:
            self._channels_last = learns_channels_last(self._model, inputs)
        inputs = on_device(inputs, self._device, channels_last=self._channels_last)
        targets = on_device(targets, self._device)
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None):
            with taking(self._model, inputs, self._task) if first else nullcontext():
                outputs = call(network, inputs)
            loss = self._task.loss(outputs, targets)
            for extra in self._extras:
                loss = loss + extra.loss(self._model, inputs, outputs, targets)
        return loss

    def _parts(self, inputs: Any, targets: Any) -> Iterator[tuple[Any, Any, float]]:
        """Yield the parts of a batch that this process passes through one after the other, with their weights.

        All processes together have the batch, each every so manieth example, so that a part of it is the same examples
        for any number of processes.
        """
        number, processes = self._processes.number, self._processes.count
        if self._options.accumulate == processes == 1:
            yield inputs, targets, 1.0
            return
        count = examples_in(inputs, targets)
        if processes > 1:
            if is_countable(self._task):  # was read in shares
                count = min(self._options.step_size, len(self._task.train))
            else:
                inputs, targets = part_of(inputs, targets, slice(number, None, processes))
            if count < processes:
                raise ValueError(f"a batch of {count} examples cannot be shared by {processes} processes")
        parts = min(self._options.accumulate, max(1, count // max(2, processes)))
        ends = [math.ceil((count * i // parts - number) / processes) for i in range(parts + 1)]
        for start, end in itertools.pairwise(ends):
            start, end = max(0, start), max(0, end)
            if parts == 1:
                yield inputs, targets, (end - start) * processes / count
            else:
                yield *part_of(inputs, targets, slice(start, end)), (end - start) * processes / count

    def _set_lr(self) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr


def _optimizer(parameters: Sequence[nn.Parameter], options: Options) -> torch.optim.Optimizer:
    lr, weight_decay = options.lr, options.weight_decay
    if options.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr, weight_decay=weight_decay)
    return torch.optim.SGD(parameters, lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)


def _warm_cosine(steps: int) -> Callable[[int], float]:
    warm = max(1, round(steps * WARMUP))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1, (step - warm) / max(1, steps - warm))))

    return factor


def autocast_dtype(device: torch.device, amp: str) -> torch.dtype | None:
    """Return what the option ``amp`` of `fpgmlab.fit` makes layers compute in; None for what they are in."""
    if amp == "auto" and (asked := LAUNCHED.get(os.environ.get("ACCELERATE_MIXED_PRECISION", ""))) is not None:
        return asked
    if amp == "off" or (amp == "auto" and device.type != "cuda"):
        return None
    if amp == "float16":
        return torch.float16
    return torch.bfloat16 if amp == "bfloat16" or torch.cuda.is_bf16_supported() else torch.float16
