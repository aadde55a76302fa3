"""What a sweep measures: a number for each sample, from the pruned and the unpruned network's outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fpgmlab.common.modules import tensors_in
from fpgmlab.sensitivity.curves.intervals import Paired, kl_divergence
from fpgmlab.tasks.task import Task

PerSample = Callable[[object, object, object, object], Tensor]  # task, outputs, unpruned outputs, targets


@dataclass(frozen=True)
class Metric:
    """A metric of a sweep.

    Attributes
    ----------
    name : str
    of : callable
        ``(task, outputs, base, targets) -> (samples,)``.
    binary : bool
        Whether each value is 0 or 1.
    higher_is_better : bool
    labels : bool
        Whether it needs targets.
    """

    name: str
    of: PerSample
    binary: bool
    higher_is_better: bool
    labels: bool

    nothing = Paired()
    sums = staticmethod(Paired.of)

    @property
    def share(self) -> bool:
        """Whether it is a fraction, from 0 to 1."""
        return self.binary

    @staticmethod
    def prepared(base: object) -> object:
        """Return what of the unpruned outputs `of` takes: all."""
        return base

    @staticmethod
    def check(values: object) -> None:
        """Raise an error when what one sample gives is not good for a sweep."""
        if not isinstance(values, Tensor) or tuple(values.shape) != (1,):
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"one sample must give one number, (1,); got {shape}")


def _logits(outputs: object) -> Tensor:
    """Return outputs that are logits, (samples, classes); else raise a `TypeError`."""
    if isinstance(outputs, Tensor) and outputs.ndim == 2:
        return outputs
    found = f"one of {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    raise TypeError(f"it takes logits, one tensor (samples, classes); the network gives {found}")


def _right(task: Task, outputs: object, base: object, targets: Tensor) -> Tensor:
    return (_logits(outputs).argmax(dim=1) == targets).float()


def _loss(task: Task, outputs: object, base: object, targets: object) -> Tensor:
    return task.loss(outputs, targets, reduction="none")


def _same(task: Task, outputs: object, base: object, targets: object) -> Tensor:
    return (_logits(outputs).argmax(dim=1) == _logits(base).argmax(dim=1)).float()


def _kl(task: Task, outputs: object, base: object, targets: object) -> Tensor:
    return kl_divergence(_logits(outputs), _logits(base))


def _change(task: Task, outputs: object, base: object, targets: object) -> Tensor:
    pairs = zip(tensors_in(outputs), tensors_in(base), strict=True)
    squares = [(ours.float() - before.float()).flatten(1).square() for ours, before in pairs]
    return torch.cat(squares, dim=1).mean(dim=1)


USUAL = ("accuracy", "loss", "agreement")  # what a sweep measures unless a task has usual_metrics
METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", _right, binary=True, higher_is_better=True, labels=True),
        Metric("loss", _loss, binary=False, higher_is_better=False, labels=True),
        Metric("agreement", _same, binary=True, higher_is_better=True, labels=False),
        Metric("kl", _kl, binary=False, higher_is_better=False, labels=False),
        Metric("change", _change, binary=False, higher_is_better=False, labels=False),
    )
}


def is_binary(name: str) -> bool:
    """Tell whether a metric's values are 0 or 1 for each sample; those of a task's own are not."""
    return name in METRICS and METRICS[name].binary
