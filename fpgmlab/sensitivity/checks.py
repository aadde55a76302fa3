"""What a task and a network can give of what is asked for, told before anything is measured."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import eval_mode
from fpgmlab.sensitivity.curves.metrics import METRICS, Metric
from fpgmlab.sensitivity.curves.task_metrics import TaskMetric, named
from fpgmlab.tasks.task import Task, own_metrics


def check_given(metric: Metric, task: Task, outputs: object, target: object) -> None:
    """Look at what a metric gives for the outputs and the target of one sample.

    Raises
    ------
    ValueError
        When the task cannot give it, with those that it can give.
    """
    try:
        metric.check(task, outputs, target)
    except Exception as error:
        possible = _possible(task, outputs, target)
        listed = ", ".join(repr(other.name) for other in possible) or "none"
        free = ", ".join(repr(other.name) for other in possible if not other.labels)
        raise ValueError(
            f"{type(task).__name__} cannot give the metric {metric.name!r}: {type(error).__name__}: {error}. It can "
            f"give: {listed}. These need no labels: metrics=[{free}]"
        ) from error


def _possible(task: Task, outputs: object, target: object) -> list[Metric]:
    """Return the metrics that a task can give: its own ones, then the sweep's."""
    found = []
    for name in (*own_metrics(task), *METRICS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what nobody asked for
            try:
                metric = named(name, task)
                metric.check(task, outputs, target)
            except Exception:  # whatever a task may raise: it cannot give this one
                continue
        found.append(metric)
    return found


@torch.no_grad()
def silence(
    model: nn.Module, samples: Iterable[object], chosen: Sequence[Metric], stop: Callable[[], bool] | None
) -> str | None:
    """Tell of metrics of agreement that are 0 of the unpruned network with itself; None when there are none.

    It says nothing then that a pruned one could agree with, such as an untrained detector, which detects nothing: every
    value would be 0, whatever is removed.

    Parameters
    ----------
    model : nn.Module
    samples : iterable
        Inputs of one sample each, on the model's device; read only until no metric is 0.
    chosen : sequence of Metric
    stop : callable, optional
        Asked before each forward pass; when it returns true, there is nothing to tell.
    """
    silent = [metric for metric in chosen if isinstance(metric, TaskMetric) and metric.of_agreement]
    if not silent:
        return None
    count = 0
    with left_as_it_is(model), eval_mode(model):
        for inputs in samples:
            if stop is not None and stop():
                return None
            count += 1
            outputs = call(model, inputs)
            silent = [metric for metric in silent if metric.alone(outputs) == 0]
            if not silent:
                return None
    names = " and ".join(repr(metric.name) for metric in silent)
    return (
        f"on {count} samples the unpruned network gives no answer that counts for {names} (a detector: no detection of "
        "enough confidence). There is nothing to agree with: the values of all points will be 0 and tell nothing. "
        "Train the network first; or ask for another metric, such as metrics='change', or for one of your own in "
        "task.metrics that counts answers of less confidence."
    )
