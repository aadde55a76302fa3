"""What may be asked of a sweep, and what a task and a network can give of it: told before anything is measured."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from numbers import Real

import torch
from torch import nn

from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import eval_mode
from fpgmlab.common.numbers import counted, whole_number
from fpgmlab.errors import one_of
from fpgmlab.sensitivity.curves.metrics import METRICS, USUAL, Metric
from fpgmlab.sensitivity.curves.task_metrics import TaskMetric, named
from fpgmlab.tasks.task import Task, own_metrics, usual_metrics

DTYPES = ("float32", "bfloat16")


def checked_metrics(metrics: str | Sequence[str] | None, task: Task) -> tuple[str, ...]:
    """Return the names of metrics as a tuple, or the task's usual ones; an error says which cannot be used."""
    metrics = usual_metrics(task, USUAL) if metrics is None else metrics
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    for name in names:
        named(name, task)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"metrics must be at least one, each once; got {list(names)}")
    return names


def samples_in(task: Task, max_samples: int | None) -> int:
    """Return how many validation samples of a task are asked for: all of them, or at most ``max_samples``."""
    val = getattr(task, "val", None)
    there = 0 if val is None else len(val)
    if there == 0:
        raise ValueError(f"{type(task).__name__} has no validation data (task.val): a sweep needs at least one sample")
    if max_samples is None:
        return there
    return min(whole_number("max_samples", max_samples), there)


def check_numbers(
    batch_size: int,
    memory: float,
    dtype: str,
    tolerance: float | None,
    recalibrate: int,
    repair_samples: int | None = None,
) -> None:
    """Raise a `ValueError` for numbers out of range."""
    whole_number("batch_size", batch_size)
    if not (isinstance(memory, Real) and memory > 0):
        raise ValueError(f"memory must be a number of bytes > 0; got {memory!r}")
    if dtype not in DTYPES:
        raise ValueError(one_of("dtype", dtype, DTYPES))
    if tolerance is not None and not (isinstance(tolerance, Real) and tolerance > 0):
        raise ValueError(f"tolerance must be None or > 0, in the unit of the first metric; got {tolerance!r}")
    whole_number("recalibrate", recalibrate, 0)
    if repair_samples is not None:
        whole_number("repair_samples", repair_samples)


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
        f"on {counted(count, 'sample')} the unpruned network gives no answer that counts for {names} (a detector: no "
        "detection of enough confidence). There is nothing to agree with: the values of all points will be 0 and tell "
        "nothing. Train the network first; or ask for another metric, such as metrics='change', or for one of your "
        "own in task.metrics that counts answers of less confidence."
    )
