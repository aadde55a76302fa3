"""Validation pictures in parts, and what the unpruned network makes of them: what others make of them is compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from fpgmlab.common.batches import examples_in, on_device
from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.layout import bears_channels_last
from fpgmlab.common.modules import device_of, eval_mode, tensors_in
from fpgmlab.sensitivity.checks import samples_in
from fpgmlab.sensitivity.curves.intervals import within
from fpgmlab.sensitivity.curves.metrics import Record, SampleMetric
from fpgmlab.sensitivity.curves.task_metrics import named
from fpgmlab.tasks.task import Task, eval_batch_size

PARTS = 8  # at least, for metrics whose interval comes from leaving out one at a time

Records = dict[str, Record]  # by metric


@dataclass(frozen=True, eq=False)
class Part:
    """Some pictures.

    Attributes
    ----------
    inputs : object
        On the network's device, laid out as it likes them.
    samples : int
    whole : dict
        What each metric notes of the unpruned network.
    readers : dict
        By metric, what notes a network's outputs for these pictures.
    """

    inputs: object
    samples: int
    whole: Records
    readers: dict[str, Callable[[object], Record]]


@dataclass(frozen=True, eq=False)
class Tally:
    """What was noted of one network, part by part from the first.

    Attributes
    ----------
    records : tuple of dict
        By metric.
    samples : tuple of int
        In each part.
    """

    records: tuple[Records, ...] = ()
    samples: tuple[int, ...] = ()

    def plus(self, records: Records, samples: int) -> Tally:
        """Return it with one part more."""
        return Tally((*self.records, records), (*self.samples, samples))

    @property
    def seen(self) -> int:
        """How many pictures."""
        return sum(self.samples)

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        found = (each for part in self.records for each in part.values())
        return sum(each.nbytes if isinstance(each, Tensor) else len(each) for each in found)


@dataclass(frozen=True)
class Estimate:
    """A metric of one network, and the ends of the 95 % interval of its difference to another's on the same samples.

    Attributes
    ----------
    value, low, high : float
        The interval is put at the other network's value: ``low - reference`` to ``high - reference`` is that of the
        difference. Infinite where it is not known.
    reference : float
        The other network's value on the same samples.
    samples : int
    """

    value: float
    low: float
    high: float
    reference: float
    samples: int


@dataclass(eq=False)
class Pictures:
    """A task's validation pictures, read when they are needed and kept as far as memory goes.

    Parameters
    ----------
    model : nn.Module
        The unpruned network; not to change as long as this is used.
    task : task
    metrics : sequence of str
        As in `fpgmlab.sweep`.
    optional : sequence of str
        More of them, if the task can give them of its first pictures.
    seconds : float
        A part is at most so many pictures as the unpruned network takes in about this time, and no more than the task
        has in a batch.
    memory : float
        Bytes of pictures that are kept; those beyond are read again each time.
    max_samples : int, optional
        Only the first so many.
    """

    model: nn.Module
    task: Task
    metrics: Sequence[str]
    optional: Sequence[str] = ()
    seconds: float = 0.2
    memory: float = 5e8
    max_samples: int | None = None
    _parts: list[Part] = field(default_factory=list, init=False)
    _whole: list[Records] = field(default_factory=list, init=False)  # of all parts that were read
    _size: int = field(default=0, init=False)
    _more: Iterator[tuple[object, object]] | None = field(default=None, init=False)
    _next: int = field(default=0, init=False)  # the number of the part that `_more` gives next
    _last: bool | None = field(default=None, init=False)  # whether the channels lie last

    def __post_init__(self) -> None:
        self.known = {name: named(name, self.task) for name in (*self.metrics, *self.optional)}
        self.total = samples_in(self.task, self.max_samples)

    @property
    def quick(self) -> bool:
        """Whether `estimates` takes no time worth mentioning: all metrics are means over samples."""
        return all(isinstance(metric, SampleMetric) for metric in self.known.values())

    @torch.no_grad()
    def part(self, number: int, check: Callable[[], None] = lambda: None) -> Part | None:
        """Return a part of the pictures by its number; None when there are no more.

        Parameters
        ----------
        number : int
        check : callable
            Called before the unpruned network runs; may raise an exception.
        """
        if number < len(self._parts):
            return self._parts[number]
        if not self._size:
            self._size = self._suitable()
        if self._more is None or self._next != number:
            batches = self.task.val_batches(self._size, self.max_samples)
            self._more, self._next = islice(batches, number, None), number
        check()
        more, self._more = self._more, None  # where reading fails, it is begun anew
        batch = next(more, None)
        if batch is None:
            return None
        self._more, self._next = more, number + 1
        part, size = self._looked_at(*batch)
        if number == len(self._whole):
            self._whole.append(part.whole)
        if number == len(self._parts) and size <= self.memory:
            self.memory -= size
            self._parts.append(part)
        return part

    @torch.no_grad()
    def read(self, model: nn.Module, part: Part) -> Records:
        """Return what the metrics note of a network on a part; its mode is the same afterwards."""
        with eval_mode(model):
            outputs = _floats(call(model, part.inputs))
        return {name: reader(outputs) for name, reader in part.readers.items()}

    def estimates(self, ours: Tally, theirs: Tally | None = None) -> dict[str, Estimate]:
        """Return the metrics of one network, compared with another's on the pictures that both have seen.

        Parameters
        ----------
        ours : Tally
        theirs : Tally, optional
            The unpruned network's when left out.
        """
        if theirs is None:
            theirs = Tally(tuple(self._whole[: len(ours.samples)]), ours.samples)
        parts = min(len(ours.samples), len(theirs.samples))
        if not parts:
            return {}
        samples, found = ours.samples[:parts], {}
        for name, metric in self.known.items():
            mine, others = ([records[name] for records in tally.records[:parts]] for tally in (ours, theirs))
            sums = metric.between(mine, others, samples)
            value, low, high = within(sums.interval(metric.binary), metric.share)
            found[name] = Estimate(value, low, high, sums.reference, sums.samples)
        return found

    def _looked_at(self, inputs: object, targets: object) -> tuple[Part, int]:
        """Return a part, and how many bytes it keeps."""
        device = device_of(self.model)
        if self._last is None:
            self._last = bears_channels_last(self.model, inputs)
        samples = examples_in(inputs, targets)
        inputs = on_device(inputs, device, channels_last=self._last)
        targets = on_device(targets, device)
        with eval_mode(self.model), left_as_it_is(self.model):
            whole = _floats(call(self.model, inputs))
        readers, records = {}, {}
        for name, metric in list(self.known.items()):
            try:
                reader = metric.reader(self.task, whole, targets)
                records[name] = reader(whole)
            except Exception:  # whatever a task may raise: without labels it gives no metric of its own
                if name not in self.optional or self._whole:
                    raise
                del self.known[name]
            else:
                readers[name] = reader
        size = sum(tensor.nbytes for tensor in tensors_in((inputs, whole)))
        return Part(inputs, samples, records, readers), size

    def _suitable(self) -> int:
        """Return how many pictures the network takes in the time that is wanted, at most the task's batch."""
        most = eval_batch_size(self.task)
        few = min(most, 16)
        inputs, _ = next(iter(self.task.val_batches(few, few)))
        inputs = on_device(inputs, device_of(self.model))
        with eval_mode(self.model), left_as_it_is(self.model):
            took = []
            for _ in range(3):  # the first is slow, and others work on the machine as well
                started = time.perf_counter()
                call(self.model, inputs)
                took.append(time.perf_counter() - started)
        if not self.quick:  # an interval by leaving out parts needs some
            most = min(most, -(-self.total // PARTS))
        return max(1, min(most, round(self.seconds * examples_in(inputs) / min(took))))


def _floats(outputs: object) -> object:
    return tree_map_only(Tensor, lambda t: t.float() if t.is_floating_point() else t, outputs)
