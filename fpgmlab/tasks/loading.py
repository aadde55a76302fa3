"""Training batches read ahead in worker processes: the same ones for any number of them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from fpgmlab.common.interrupts import held_back
from fpgmlab.tasks.shuffling import WHOLE, Batch, Share, Shuffled, part_of
from fpgmlab.tasks.task import Task

AHEAD = 2  # batches that each worker has ready
MOST = 8  # workers that "auto" asks for


class Countable(Task, Protocol):
    """A task whose batches can be asked for by their number: several workers read them."""

    def train_batches(self, batch_size: int, seed: int, workers: int = 0) -> Iterator[Batch]:
        """Yield the training batches in order, read ahead by so many processes."""

    def shuffled(self, batch_size: int, seed: int, share: Share = WHOLE) -> Shuffled:
        """Return the same batches by their number, or a share of each."""


def in_order(task: Countable, batch_size: int, seed: int, workers: int) -> Iterator[Batch]:
    """Yield the batches of one epoch, read ahead by so many worker processes."""
    if not workers:
        yield from task.shuffled(batch_size, seed)
        return
    with reading(task, batch_size, [seed], workers) as epochs:
        for batches in epochs:
            yield from batches


@contextmanager
def reading(
    task: Task, batch_size: int, seeds: Sequence[int], workers: int = 0, share: Share = WHOLE
) -> Iterator[Iterator[Iterator[Batch]]]:
    """Read the training batches of several epochs; the workers stay for all of them and are gone on exit.

    A task without ``shuffled`` is read ahead by one, in its own order.

    Parameters
    ----------
    task : task
    batch_size : int
    seeds : sequence of int
        One for each epoch.
    workers : int
        How many processes read; 0 reads here, when a batch is asked for.
    share : (int, int)
        The part of each batch, as of `Shuffled`.

    Yields
    ------
    iterator
        For each epoch an iterator with its batches, to be read to its end before the next.
    """
    if not workers:
        yield (_here(task, batch_size, seed, share) for seed in seeds)
        return
    if multiprocessing.current_process().daemon:
        raise ValueError(f"workers={workers}: a daemonic process, such as a worker, may not start any. Use workers=0.")
    reader = _Reader(_started(task, batch_size, seeds, workers, share))
    try:
        yield (reader.epoch() for _ in seeds)
    finally:
        reader.close()


def number_of_workers(workers: int | str, device: torch.device, processes: int = 1) -> int:
    """Return how many workers shall read; "auto" is one for each core, on a CPU one where torch leaves a core free.

    Raises
    ------
    ValueError
        For what is neither a whole number >= 0 nor "auto".
    """
    if isinstance(workers, int) and not isinstance(workers, bool) and workers >= 0:
        return workers
    if workers != "auto":
        raise ValueError(f"workers must be a whole number >= 0 or 'auto'; got {workers!r}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if multiprocessing.current_process().daemon:
        return 0
    # A core that both a worker and a thread of torch want makes all threads wait for that one.
    free = cores // processes if device.type != "cpu" else min(1, cores // processes - torch.get_num_threads())
    return max(0, min(MOST, free))


def is_countable(task: Task) -> bool:
    """Tell whether a task's batches can be asked for by their number.

    Not where a wrapper, or a class of one's own, has another ``train_batches``: that is what counts.
    """
    for kind in type(task).__mro__:
        if "shuffled" in vars(kind):
            return True
        if "train_batches" in vars(kind):
            return False
    return False


def _here(task: Task, batch_size: int, seed: int, share: Share) -> Iterator[Batch]:
    if share == WHOLE:
        yield from task.train_batches(batch_size, seed=seed)
    elif is_countable(task):
        yield from cast(Countable, task).shuffled(batch_size, seed, share)
    else:
        number, processes = share
        for inputs, targets in task.train_batches(batch_size, seed=seed):
            yield part_of(inputs, targets, slice(number, None, processes))


@dataclass(frozen=True)
class _Failed:
    """What a worker could not do."""

    error: Exception
    where: str


_END = "end of an epoch"


class _ByNumber(Dataset):
    """Batches by epoch and number."""

    def __init__(self, task: Countable, batch_size: int, seeds: Sequence[int], share: Share) -> None:
        self._task, self._batch_size, self._seeds, self._share = task, batch_size, seeds, share
        self._now: tuple[int, Shuffled] | None = None

    def __getitem__(self, place: tuple[int, int]) -> object:
        epoch, number = place
        try:
            if self._now is None or self._now[0] != epoch:
                self._now = epoch, self._task.shuffled(self._batch_size, self._seeds[epoch], self._share)
            return self._now[1][number] if number < len(self._now[1]) else _END
        except Exception as error:
            return _failed(error)


class _InOrder(IterableDataset):
    """Batches of a task that can only be read from the first to the last."""

    def __init__(self, task: Task, batch_size: int, seeds: Sequence[int], share: Share) -> None:
        self._task, self._batch_size, self._seeds, self._share = task, batch_size, seeds, share

    def __iter__(self) -> Iterator[object]:
        try:
            for seed in self._seeds:
                yield from _here(self._task, self._batch_size, seed, self._share)
                yield _END
        except Exception as error:
            yield _failed(error)


def _failed(error: Exception) -> _Failed:
    try:
        pickle.loads(pickle.dumps(error))  # one's own, made a line ago
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return _Failed(error, traceback.format_exc())


def _started(task: Task, batch_size: int, seeds: Sequence[int], workers: int, share: Share) -> Any:
    """Return the iterator of a data loader whose workers have been started."""
    data: Dataset
    places: list[tuple[int, int]] | None = None
    if is_countable(task):
        countable = cast(Countable, task)
        data = _ByNumber(countable, batch_size, seeds, share)
        batches = len(countable.shuffled(batch_size, seeds[0], share)) if seeds else 0
        places = [(epoch, number) for epoch in range(len(seeds)) for number in range(batches + 1)]
    else:
        data, workers = _InOrder(task, batch_size, seeds, share), 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads at a fork, of more workers than cores: it was asked for
        loader = DataLoader(
            data,
            batch_size=None,
            sampler=places,
            num_workers=workers,
            collate_fn=_as_it_is,
            prefetch_factor=AHEAD,
            generator=torch.Generator(),  # what it draws for itself shall not be missing elsewhere
            # Data and code are there at once, also what lives in a notebook.
            multiprocessing_context="fork" if sys.platform == "linux" else None,
        )
        iterator: Any = None
        try:
            with held_back():  # in the middle of a fork it would be lost
                iterator = iter(loader)
        except KeyboardInterrupt:
            iterator._shutdown_workers()
            raise
        return iterator


class _Reader:
    """Who holds the iterator of a data loader, and lets go of it."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def epoch(self) -> Iterator[Batch]:
        while not isinstance(batch := next(self._iterator), str):  # _END
            if isinstance(batch, _Failed):
                batch.error.add_note(f"in a worker process:\n{batch.where}")
                raise batch.error
            yield batch

    def close(self) -> None:
        # Not left to garbage collection: the traceback of an exception holds what the loop held.
        iterator, self._iterator = self._iterator, None
        iterator._shutdown_workers()


def _as_it_is(batch: object) -> object:
    return batch
