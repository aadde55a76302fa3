"""What one batch says of every point."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fpgmlab.common.modules import tensors_in
from fpgmlab.sensitivity.curves.curves import Curves, Key
from fpgmlab.sensitivity.curves.intervals import Sums
from fpgmlab.sensitivity.curves.metrics import Metric
from fpgmlab.sensitivity.replay.points import Point
from fpgmlab.sensitivity.replay.runners import Runner
from fpgmlab.tasks.task import Task


def measured(
    runner: Runner,
    inputs: object,
    targets: object,
    task: Task,
    points: Sequence[Point],
    metrics: Sequence[Metric],
    stop: Callable[[], bool] | None,
    on_point: Callable[[], object] | None = None,
) -> Curves | None:
    """Return what one batch says of some points; None when it was stopped. ``on_point`` is called after each."""
    whole = runner.record(inputs)
    judges = {metric.name: metric.judge(task, whole, targets) for metric in metrics}
    sizes = [largest(tensor) for tensor in tensors_in(whole)]
    sums: dict[Key, Sums] = {}
    changes: dict[str, float] = {}
    for point in points:
        if stop is not None and stop():
            return None
        outputs = runner.run(point)
        changes[point.group] = max(changes.get(point.group, 0.0), largest_change(outputs, whole, sizes))
        for name, judge in judges.items():
            sums[point.group, point.kept, name] = judge.of(outputs)
        if on_point is not None:
            on_point()
    return Curves(sums, {name: judge.whole for name, judge in judges.items()}, {}, changes)


def largest_change(outputs: object, whole: object, sizes: Sequence[float]) -> float:
    """Return the largest change of any output: 0 for no more than rounding makes, infinity where it is no number.

    Parameters
    ----------
    outputs, whole : object
        The pruned network's and the unpruned one's.
    sizes : sequence of float
        `largest` of each of the unpruned network's tensors.
    """
    change = 0.0
    for ours, before, size in zip(tensors_in(outputs), tensors_in(whole), sizes, strict=True):
        if ours is not before:  # else it is of a part of the network that the change does not reach
            apart = largest(_floating(ours) - _floating(before))
            change = max(change, 0.0 if apart <= 1e-6 * size else apart)
    return change


def largest(tensor: Tensor) -> float:
    """Return the largest absolute value; 0 for none, infinity where one is no number."""
    if not tensor.numel():
        return 0.0
    found = float(torch.linalg.vector_norm(_floating(tensor), math.inf))  # in one pass, whatever the layout in memory
    return math.inf if math.isnan(found) else found


def _floating(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_floating_point() else tensor.float()
