"""Validation data in parts whose activations fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from fpgmlab.common.batches import examples_in
from fpgmlab.tasks.task import Task


def cuts(done: int, total: int, batch_size: int, limit: int) -> Iterator[tuple[int, int]]:
    """Yield the first and past-the-last sample of each part: no longer than ``limit``, within one batch of the task."""
    while done < total:
        end = min(done + limit, done - done % batch_size + batch_size, total)
        yield done, end
        done = end


class Reader:
    """Reads parts of a task's validation data, in ascending order without reading anything twice."""

    def __init__(self, task: Task, batch_size: int, total: int) -> None:
        self._task, self._batch_size, self._total = task, batch_size, total
        self._start = self._count = 0  # where the batch that was read last begins, and how many samples it has
        self._batch: tuple[object, object] = (None, None)
        self._batches = self._beginning()

    def read(self, start: int, end: int) -> tuple[object, object]:
        """Return the inputs and targets of some samples within one batch, where the task puts them.

        Raises
        ------
        ValueError
            When the task gives fewer samples than it has, batches of another size, or targets that cannot be cut.
        """
        if start < self._start:
            self._start = self._count = 0
            self._batches = self._beginning()
        while start >= self._start + self._count:
            self._start += self._count
            batch = next(self._batches, None)
            expected = min(self._batch_size, self._total - self._start)
            self._count = 0 if batch is None else examples_in(*batch)
            self._batch = batch or self._batch
            if self._count != expected:
                raise ValueError(
                    f"val_batches({self._batch_size}, {self._total}) must give {expected} samples after the first "
                    f"{self._start}; got {self._count}. A sweep reads the same samples in the same order each time."
                )
        inputs, targets = self._batch
        where = (start - self._start, end - self._start, self._count)
        return cut(inputs, *where), cut(targets, *where)

    def _beginning(self) -> Iterator[tuple[object, object]]:
        return iter(self._task.val_batches(self._batch_size, self._total))


def cut(value: object, start: int, end: int, count: int) -> object:
    """Return the samples from ``start`` to ``end`` of a batch of ``count``.

    Parameters
    ----------
    value : object
        A tensor (count, ...), a list with an item for each sample, None, or dicts, lists and tuples of these.

    Raises
    ------
    ValueError
        When it cannot be told which of its items belong to which sample.
    """
    if value is None or (start, end) == (0, count):
        return value
    if isinstance(value, dict):
        return {key: cut(item, start, end, count) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        fields = bool(value) and all(_by_sample(item, count) for item in value)
        if fields and len(value) != count:
            return type(value)(cut(item, start, end, count) for item in value)
        if len(value) == count and not fields:
            return value[start:end]
    elif isinstance(value, Tensor) and _by_sample(value, count):
        return value[start:end]
    shape = f" {tuple(value.shape)}" if isinstance(value, Tensor) else ""
    raise ValueError(
        f"a batch of {count} samples does not fit into memory, and its {type(value).__name__}{shape} cannot be cut: it "
        f"must be a tensor ({count}, ...), a list with an item for each sample, or dicts, lists and tuples of these. "
        "Pass a smaller batch_size."
    )


def _by_sample(value: object, count: int) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(_by_sample(item, count) for item in value.values())
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == count
