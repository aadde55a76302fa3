"""What a sweep measures: a number for each sample, from the pruned and the unpruned network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from fpgmlab.common.modules import tensors_in
from fpgmlab.sensitivity.curves.intervals import Paired, Sums, kl_divergence
from fpgmlab.tasks.task import Task

Values = Callable[[Task, object, object, object], Tensor]  # task, outputs, unpruned outputs, targets -> (samples,)
Record = Tensor | bytes  # what a metric notes of a network on a batch: a value for each sample, or a state


@dataclass(frozen=True)
class Judge:
    """What a metric says of one batch.

    Attributes
    ----------
    whole : Sums
        Of the unpruned network, compared with itself.
    of : callable
        ``outputs -> Sums``, of a pruned network's outputs for the same batch.
    """

    whole: Sums
    of: Callable[[object], Sums]


class Metric(Protocol):
    """What a sweep asks of a metric: `SampleMetric`, a mean over samples, or `task_metrics.TaskMetric`, any other."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    @property
    def binary(self) -> bool:
        """Whether the value of each sample is 0 or 1."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value is better."""

    @property
    def labels(self) -> bool:
        """Whether it needs targets."""

    @property
    def share(self) -> bool:
        """Whether it is a fraction, from 0 to 1."""

    @property
    def nothing(self) -> Sums:
        """What is known before the first batch."""

    def judge(self, task: Task, whole: object, targets: object) -> Judge:
        """Return what judges outputs for a batch, from the unpruned network's outputs and the targets."""

    def reader(self, task: Task, whole: object, targets: object) -> Callable[[object], Record]:
        """Return what notes outputs for a batch, from the unpruned network's outputs and the targets."""

    def between(self, ours: Sequence[Record], theirs: Sequence[Record], samples: Sequence[int]) -> Sums:
        """Return the sums of one network, paired with another's in place of the unpruned one's.

        Parameters
        ----------
        ours, theirs : sequence of Tensor or bytes
            What was noted of both on the same batches.
        samples : sequence of int
            In each batch.
        """

    def check(self, task: Task, outputs: object, target: object) -> None:
        """Raise an error when what it makes of one sample is not good for a sweep."""


@dataclass(frozen=True)
class SampleMetric:
    """A metric that is a mean over samples.

    Attributes
    ----------
    name : str
    values : callable
        ``(task, outputs, unpruned outputs, targets) -> (samples,)``.
    binary : bool
        Whether each value is 0 or 1.
    higher_is_better : bool
    labels : bool
        Whether it needs targets.
    """

    name: str
    values: Values
    binary: bool
    higher_is_better: bool
    labels: bool

    nothing = Paired()

    @property
    def share(self) -> bool:
        """Whether it is a fraction, from 0 to 1."""
        return self.binary

    def judge(self, task: Task, whole: object, targets: object) -> Judge:
        """Return what judges outputs for a batch, from the unpruned network's outputs and the targets."""
        base = self.values(task, whole, whole, targets)
        return Judge(Paired.of(base, base), lambda outputs: Paired.of(self.values(task, outputs, whole, targets), base))

    def reader(self, task: Task, whole: object, targets: object) -> Callable[[object], Record]:
        """Return what notes the values of a batch's samples, (samples,)."""
        return lambda outputs: self.values(task, outputs, whole, targets).detach().float().cpu()

    def between(self, ours: Sequence[Record], theirs: Sequence[Record], samples: Sequence[int]) -> Sums:
        """Return the sums of one network's values, paired with another's on the same samples."""
        return Paired.of(*(torch.cat(cast("list[Tensor]", list(values))) for values in (ours, theirs)))

    def check(self, task: Task, outputs: object, target: object) -> None:
        """Raise an error when what one sample gives is not one number."""
        values = self.values(task, outputs, outputs, target)
        if not isinstance(values, Tensor) or tuple(values.shape) != (1,):
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"one sample must give one number, (1,); got {shape}")


def _logits(outputs: object) -> Tensor:
    """Return outputs that are logits, (samples, classes); else raise a `TypeError`."""
    if isinstance(outputs, Tensor) and outputs.ndim == 2:
        return outputs
    found = f"one of {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    raise TypeError(f"it takes logits, one tensor (samples, classes); the network gives {found}")


def _right(task: Task, outputs: object, base: object, targets: object) -> Tensor:
    if not isinstance(targets, Tensor):
        raise TypeError(f"it takes labels, one tensor (samples,); the task gives a {type(targets).__name__}")
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
METRICS: dict[str, SampleMetric] = {
    metric.name: metric
    for metric in (
        SampleMetric("accuracy", _right, binary=True, higher_is_better=True, labels=True),
        SampleMetric("loss", _loss, binary=False, higher_is_better=False, labels=True),
        SampleMetric("agreement", _same, binary=True, higher_is_better=True, labels=False),
        SampleMetric("kl", _kl, binary=False, higher_is_better=False, labels=False),
        SampleMetric("change", _change, binary=False, higher_is_better=False, labels=False),
    )
}


def is_binary(name: str) -> bool:
    """Tell whether a metric's values are 0 or 1 for each sample; those of a task's own are not."""
    return name in METRICS and METRICS[name].binary
