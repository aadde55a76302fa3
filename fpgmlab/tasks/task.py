"""What a task is: all that evaluation, training, sweeps, statistics and the desk ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from torch import nn
    from torchmetrics import Metric

TRAIN_BATCH, EVAL_BATCH = 128, 256


class Task(Protocol):
    """Data, loss and metric. Any object with these is a task; nothing needs to be inherited.

    Inputs are what its networks take: a tensor (examples, ...), a dict of keyword or a tuple of positional arguments,
    or a list, see `fpgmlab.common.examples_in`. Targets are what its loss and metric take.

    It may have these as well, which are looked for by name:

    ``example_input``
        What a network for it is traced with.
    ``test``, ``test_batches(batch_size, max_samples)``
        Data to measure with at the end, and what yields them as ``val_batches`` does; None where there are none. Only
        ``fl.evaluate(..., split="test")`` reads them.
    ``train_batch_size``, ``eval_batch_size``
        How many examples it wants in one pass where the caller leaves it open; see `train_batch_size`.
    ``shuffled``
        Its training batches by their number, so that several workers can read them; see
        `fpgmlab.tasks.loading.Countable`. Without it one worker reads ahead what ``train_batches`` yields.
    ``metrics``
        More metrics for a sweep, {name: function that returns a fresh torchmetrics metric}; see `own_metrics`. What
        such a metric may say of itself is in `fpgmlab.sensitivity.curves.task_metrics`.
    ``usual_metrics``
        The names of those that a sweep measures unless told otherwise; see `usual_metrics`.
    ``check_network(model, labelled)``
        Raises for a network that it is not for, before that is run; ``labelled`` tells whether by labels.
    ``head``
        What a detector's outputs mean; part of a stored sweep's identity, see `head_of`.
    """

    @property
    def metric_name(self) -> str:
        """What its metric is called in tables."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value of its metric is better."""

    @property
    def train(self) -> Sized:
        """The training data."""

    @property
    def val(self) -> Sized:
        """The validation data."""

    def train_batches(self, batch_size: int, seed: int) -> Iterator[tuple[object, object]]:
        """Yield inputs and targets of the training data once.

        Parameters
        ----------
        batch_size : int
            Examples in a batch; a last one with fewer may be left out.
        seed : int
            Of the order, and of the augmentation.
        """

    def val_batches(self, batch_size: int, max_samples: int | None) -> Iterator[tuple[object, object]]:
        """Yield inputs and targets of the validation data in order.

        Parameters
        ----------
        batch_size : int
            Examples in a batch.
        max_samples : int or None
            Only the first so many examples.
        """

    def loss(self, outputs: Any, targets: Any, reduction: str = "mean") -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        outputs, targets : object
            What the network gave for a batch, and what the batch came with.
        reduction : {"mean", "none"}

        Returns
        -------
        Tensor
            A scalar, or with ``"none"`` the loss of each example, (batch,).
        """

    def metric(self) -> Metric:
        """Return a fresh torchmetrics metric, updated with outputs and targets."""


def train_batch_size(task: Task, asked: int | None = None) -> int:
    """Return what was asked for, else the task's ``train_batch_size``, or 128."""
    return getattr(task, "train_batch_size", TRAIN_BATCH) if asked is None else asked


def eval_batch_size(task: Task, asked: int | None = None) -> int:
    """Return what was asked for, else the task's ``eval_batch_size``, or 256."""
    return getattr(task, "eval_batch_size", EVAL_BATCH) if asked is None else asked


def own_metrics(task: Task | None) -> Mapping[str, Callable[[], Metric]]:
    """Return a task's own metrics, ``task.metrics``; none where it has none."""
    return getattr(task, "metrics", None) or {}


def usual_metrics(task: Task, otherwise: Sequence[str]) -> Sequence[str]:
    """Return the names of what a sweep measures of a task, ``task.usual_metrics``, or others where it has none."""
    return getattr(task, "usual_metrics", otherwise)


def head_of(task: Task) -> object:
    """Return what knows the meaning of a detector's outputs, ``task.head``; None where there is none."""
    return getattr(task, "head", None)


def check_network(task: Task, model: nn.Module, labelled: bool = True) -> None:
    """Let a task that can look at a network before it is run: ``task.check_network(model, labelled)``."""
    check = getattr(task, "check_network", None)
    if check is not None:
        check(model, labelled)
