"""What one batch says of every point."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from fpgmlab.sensitivity.curves import Curves, Key
from fpgmlab.sensitivity.intervals import Paired
from fpgmlab.sensitivity.metrics import Metric
from fpgmlab.sensitivity.points import Point
from fpgmlab.sensitivity.runners import Runner


def measured(
    runner: Runner,
    inputs: Tensor,
    targets: object,
    task: object,
    points: Sequence[Point],
    metrics: Sequence[Metric],
    stop: Callable[[], bool] | None,
) -> Curves | None:
    """Return what one batch says of some points; None when it was stopped."""
    whole = runner.record(inputs)
    reference = {metric.name: metric.of(task, whole, whole, targets) for metric in metrics}
    sums: dict[Key, Paired] = {}
    changes: dict[str, float] = {}
    for point in points:
        if stop is not None and stop():
            return None
        outputs = runner.run(point)
        change = float((outputs.float() - whole.float()).abs().max())
        changes[point.group] = max(changes.get(point.group, 0.0), change)
        for metric in metrics:
            values = metric.of(task, outputs, whole, targets)
            sums[point.group, point.kept, metric.name] = Paired.of(values, reference[metric.name])
    return Curves(sums, {name: Paired.of(values, values) for name, values in reference.items()}, {}, changes)
