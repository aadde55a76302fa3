"""How far the sum of single drops is what happens when all groups are pruned together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fpgmlab.allocation.degradation import chosen_metric, predicted
from fpgmlab.common.batches import on_device
from fpgmlab.common.calling import call
from fpgmlab.common.layout import bears_channels_last
from fpgmlab.common.modules import channels_last, device_of, eval_mode
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.recovery import repair as repaired_network
from fpgmlab.sensitivity import Curves
from fpgmlab.sensitivity.curves.intervals import Sums
from fpgmlab.sensitivity.curves.metrics import Metric
from fpgmlab.sensitivity.curves.task_metrics import named
from fpgmlab.surgery.simulation import simulate
from fpgmlab.tasks.task import Task, check_network, eval_batch_size

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "group", "ratio", "kept", "metric", "predicted", "predicted_so_far", "measured_so_far", "low", "high", "samples",
    "repaired",
]  # fmt: skip


@torch.no_grad()
def additivity(
    graph: ChannelGraph,
    curves: Curves,
    plan: Plan,
    task: Task,
    *,
    metric: str | None = None,
    max_samples: int | None = None,
    batch_size: int | None = None,
    repair: bool | None = None,
    repair_samples: int | None = None,
) -> pd.DataFrame:
    """Hold the predicted degradation of a plan against the measured one, as its groups are pruned one after another.

    Parameters
    ----------
    graph : ChannelGraph
    curves : Curves
        What predicts; see `fpgmlab.sweep`.
    plan : Plan
    task : task
        That of the curves. Its validation data is used, in order.
    metric : str, optional
        One that the curves have; as in `fpgmlab.allocate` when left out.
    max_samples : int, optional
        Only the first so many examples; as many as the curves have seen when left out.
    batch_size : int, optional
        Examples in one forward pass; when left out, the task's ``eval_batch_size``, or 256.
    repair : bool, optional
        Measure networks that `fpgmlab.repair` has mended, one for each row; when left out, if the curves are of
        repaired points.
    repair_samples : int, optional
        Examples of the task's training data for that, as for `fpgmlab.repair`.

    Returns
    -------
    pandas.DataFrame
        A row for each group that the plan prunes, in network order. ``group``; ``ratio``, the fraction removed;
        ``kept``; ``metric``; ``predicted``, by how much the metric gets worse when this group alone is pruned;
        ``predicted_so_far``, the sum down to this row; ``measured_so_far``, by how much it gets worse when
        all groups down to this row are pruned; ``low`` and ``high``, the ends of its 95 % interval; ``samples``;
        ``repaired``, whether that is after repair. All in the metric's unit, positive is worse. The last row is the
        whole plan.

    Raises
    ------
    TypeError
        When they are no curves.
    ValueError
        As `fpgmlab.allocation.predicted`.
    """
    metric = chosen_metric(curves, metric)
    table = predicted(graph, curves, plan, metric)
    table = table[table["ratio"] > 0].reset_index(drop=True)
    count = curves.whole[metric].samples if max_samples is None else max_samples
    removed = {name: plan.removed[name] for name in table["group"]}
    names = list(removed)
    steps = [Plan(plan.widths, {name: removed[name] for name in names[: i + 1]}) for i in range(len(names))]
    rule = named(metric, task)
    check_network(task, graph.model, rule.labels)
    repaired = curves.repaired if repair is None else repair
    size = eval_batch_size(task, batch_size)
    if repaired:
        sums = [_mended(graph, step, task, rule, count, size, repair_samples) for step in steps]
    else:
        sums = _joint(graph, steps, task, rule, count, size)
    rows = []
    for each in sums:
        base = each.reference
        ends = [(base - v if rule.higher_is_better else v - base) for v in each.interval(rule.binary)]
        rows.append((ends[0], *sorted(ends[1:]), each.samples))
    table["predicted_so_far"] = table["predicted"].cumsum()
    table["metric"] = metric
    for i, column in enumerate(["measured_so_far", "low", "high", "samples"]):
        table[column] = [row[i] for row in rows]
    table["repaired"] = repaired
    return table[COLUMNS]


def _joint(
    graph: ChannelGraph, plans: list[Plan], task: Task, metric: Metric, max_samples: int, batch_size: int
) -> list[Sums]:
    """Return the sums of a metric for each plan, paired with the unpruned network's."""
    sums = [metric.nothing] * len(plans)
    device, last = device_of(graph.model), bears_channels_last(graph.model, graph.example_input)
    with eval_mode(graph.model) as model, channels_last(model, last):
        for inputs, targets in task.val_batches(batch_size, max_samples):
            inputs, targets = on_device(inputs, device, channels_last=last), on_device(targets, device)
            whole = call(model, inputs)
            judge = metric.judge(task, whole, targets)
            for i, plan in enumerate(plans):
                with simulate(graph, plan):
                    sums[i] += judge.of(call(model, inputs))
    return sums


def _mended(
    graph: ChannelGraph, plan: Plan, task: Task, metric: Metric, max_samples: int, batch_size: int, samples: int | None
) -> Sums:
    """Return the sums of a metric for the repaired network of a plan, paired with the unpruned network's."""
    mended = repaired_network(graph, plan, task, samples=samples, progress=False)
    sums, device = metric.nothing, device_of(graph.model)
    last = bears_channels_last(graph.model, graph.example_input)
    with eval_mode(graph.model) as model, channels_last(model, last), channels_last(mended.eval(), last):
        for inputs, targets in task.val_batches(batch_size, max_samples):
            inputs, targets = on_device(inputs, device, channels_last=last), on_device(targets, device)
            sums += metric.judge(task, call(model, inputs), targets).of(call(mended, inputs))
    return sums
