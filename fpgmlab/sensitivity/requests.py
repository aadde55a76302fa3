"""What may be asked of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

from fpgmlab.common.numbers import whole_number
from fpgmlab.errors import one_of
from fpgmlab.sensitivity.curves.metrics import USUAL
from fpgmlab.sensitivity.curves.task_metrics import named
from fpgmlab.tasks.task import Task, usual_metrics

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


def check_numbers(batch_size: int, memory: float, dtype: str, tolerance: float | None, recalibrate: int) -> None:
    """Raise a `ValueError` for numbers out of range."""
    whole_number("batch_size", batch_size)
    if not (isinstance(memory, Real) and memory > 0):
        raise ValueError(f"memory must be a number of bytes > 0; got {memory!r}")
    if dtype not in DTYPES:
        raise ValueError(one_of("dtype", dtype, DTYPES))
    if tolerance is not None and not (isinstance(tolerance, Real) and tolerance > 0):
        raise ValueError(f"tolerance must be None or > 0, in the unit of the first metric; got {tolerance!r}")
    whole_number("recalibrate", recalibrate, 0)
