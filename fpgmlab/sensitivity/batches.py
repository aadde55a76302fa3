"""Validation data in parts whose activations fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fpgmlab.sensitivity.runners import Runner


def batches(
    task: object, runner: Runner, batch_size: int, max_samples: int | None, memory: float, device: torch.device
) -> Iterator[tuple[Tensor, object]]:
    """Yield the validation data on the model's device, in parts whose activations fit into memory."""
    fits = None
    for inputs, targets in task.val_batches(batch_size, max_samples):
        inputs, targets = inputs.to(device), _to(targets, device)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        if fits is None:
            runner.record(inputs[:1])
            fits = max(1, int(memory / max(1, runner.nbytes)))
        for start in range(0, len(inputs), fits):
            yield inputs[start : start + fits], targets[start : start + fits]


def _to(targets: object, device: torch.device) -> object:
    return targets.to(device) if isinstance(targets, Tensor) else targets
