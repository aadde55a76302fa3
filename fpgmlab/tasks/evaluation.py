"""Evaluation of a model on a task's validation or test data."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from fpgmlab.common.batches import examples_in, on_device
from fpgmlab.common.calling import call, taking
from fpgmlab.common.given import check_model, check_task
from fpgmlab.common.modules import device_of, eval_mode, tensors_in
from fpgmlab.common.warned import warn
from fpgmlab.tasks.splits import batches_of
from fpgmlab.tasks.task import Task, check_network, eval_batch_size


@torch.no_grad()
def evaluate(
    model: nn.Module,
    task: Task,
    *,
    split: str = "val",
    max_samples: int | None = None,
    batch_size: int | None = None,
) -> dict[str, float]:
    """Measure a model's loss and metric, in eval mode, on the device where it lies.

    The model and its mode are the same afterwards as before.

    Parameters
    ----------
    model : nn.Module
        Gives the outputs that the task's loss and metric take. A file in ONNX is one as
        ``fl.deployment.OnnxNetwork("small.onnx")``.
    task : task
        See `fpgmlab.tasks`.
    split : {"val", "test"}
        The validation data, by which one chooses, or the test data, for the figure to report: nothing else reads them.
        A task has test data when it was made with them or with ``holdout=``; see `fpgmlab.tasks.Classification`.
    max_samples : int, optional
        Only the first so many examples.
    batch_size : int, optional
        Examples in one forward pass; when left out, the task's ``eval_batch_size``, or 256.

    Returns
    -------
    dict
        ``{"loss": mean loss, <task.metric_name>: value, "samples": count}``.

    Raises
    ------
    TypeError
        When one of them stands in the other's place, or a graph in the model's.
    ValueError
        When the task has no test data to measure on, and for a network that it is not for.

    Warns
    -----
    UserWarning
        When a loss is NaN or infinite, with the first such batch, and whether its inputs were already. As the task says
        of the network or of its data, such as `fpgmlab.tasks.Detection` of pictures to judge by that have no labelled
        object.

    Examples
    --------
    >>> found = fl.evaluate(model, task, max_samples=64)
    >>> list(found), found["accuracy"] > 0.8
    (['loss', 'accuracy', 'samples'], True)
    """
    check_model(model, "fl.evaluate(model, task)")
    check_task(task, "fl.evaluate(model, task)")
    check_network(task, model)
    device = device_of(model)
    metric = task.metric().to(device)
    for part in metric.modules():
        setattr(part, "distributed_available_fn", _alone)  # noqa: B010 - of torchmetrics' own, nothing to type checkers
    total, samples = 0.0, 0
    odd: str | None = None
    with eval_mode(model):
        for inputs, targets in batches_of(task, split)(eval_batch_size(task, batch_size), max_samples):
            count = examples_in(inputs, targets)
            inputs, targets = on_device((inputs, targets), device)
            with nullcontext() if samples else taking(model, inputs, task):
                outputs = call(model, inputs)
            loss = float(task.loss(outputs, targets))
            if odd is None and not math.isfinite(loss):
                odd = _odd(inputs, outputs, loss, samples)
            total += loss * count
            metric.update(tree_map_only(Tensor, Tensor.float, outputs), targets)
            samples += count
    if odd is not None:
        warn(odd)
    return {"loss": total / samples, task.metric_name: float(metric.compute()), "samples": samples}


def _odd(inputs: object, outputs: object, loss: float, before: int) -> str:
    """Return what a warning says of a batch whose loss is no number: whether it lies in the data or in the network."""
    whose = [what for what, held in (("the inputs hold", inputs), ("the network's outputs hold", outputs))
             if not all(bool(t.isfinite().all()) for t in tensors_in(held))]  # fmt: skip
    place = f"the batch that begins with example {before}"
    return f"the loss is {loss} in {place}: {f'{whose[0]} NaN or infinity' if whose else 'of finite outputs'}"


def _alone() -> bool:
    """Tell a torchmetrics metric that there are no other processes: of several that train, one evaluates."""
    return False
