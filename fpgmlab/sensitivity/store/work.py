"""The work of a sweep: what it needs, and the part that one stretch of the data gives."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch

from fpgmlab.common.batches import examples_in, on_device
from fpgmlab.common.calling import taking
from fpgmlab.common.digests import digest
from fpgmlab.common.layout import bears_channels_last
from fpgmlab.common.modules import device_of
from fpgmlab.common.warned import warn
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.sensitivity.checks import check_given, silence
from fpgmlab.sensitivity.curves.curves import Curves
from fpgmlab.sensitivity.curves.metrics import Metric
from fpgmlab.sensitivity.curves.task_metrics import TaskMetric, named
from fpgmlab.sensitivity.replay.batches import Reader, cut, cuts
from fpgmlab.sensitivity.replay.first_look import first_look
from fpgmlab.sensitivity.replay.measuring import measured
from fpgmlab.sensitivity.replay.points import Point
from fpgmlab.sensitivity.replay.pruned import running_pruned
from fpgmlab.sensitivity.replay.refits import Refits
from fpgmlab.sensitivity.replay.runners import Runner, running
from fpgmlab.tasks.task import Task

Live = Callable[[], Sequence[int]]  # the numbers of the points that are not finished
Stop = Callable[[], bool]
OnAnswers = Callable[[int], object]


@dataclass(frozen=True, eq=False)
class SweepJob:
    """All that measuring needs; the points by number."""

    graph: ChannelGraph
    task: Task
    points: Sequence[Point]
    metrics: Sequence[str]
    dtype: str
    batch_size: int
    total: int
    tolerance: float | None = None
    digests: bool = False  # whether the data of each part is to be digested
    surgery: bool = False  # whether points are really pruned
    recalibrate: int = 0  # batches of training data for the statistics of pruned networks
    pictures: Sequence[object] = ()  # batches of inputs that the consumers are refitted on; none to leave them

    @cached_property
    def places(self) -> list[tuple[str, int]]:
        """Group and number of kept channels of each point."""
        return [(point.group, point.kept) for point in self.points]

    @cached_property
    def chosen(self) -> list[Metric]:
        """The metrics themselves."""
        return [named(name, self.task) for name in self.metrics]


@dataclass(frozen=True, eq=False)
class Part:
    """What the samples up to ``end`` say of some points; ``limit`` is the most that the next part may have."""

    end: int
    curves: Curves
    digest: str
    limit: int = 0


Work = Callable[[Iterable[tuple[int, int]], Live], Iterator[Part]]


class OutOfMemory(RuntimeError):
    """So many samples were too many."""

    def __init__(self, samples: int, words: str) -> None:
        super().__init__(samples, words)
        self.samples, self.words = samples, words

    def __str__(self) -> str:
        return f"out of memory with {self.samples} samples in one forward pass ({self.words})"


class Bench:
    """A job with its runner."""

    def __init__(self, job: SweepJob, runner: Runner, refits: Refits | None = None) -> None:
        self._job, self._runner, self._refits = job, runner, refits
        self._reader = Reader(job.task, job.batch_size, job.total)
        self._device = device_of(job.graph.model)
        self._last = bears_channels_last(job.graph.model, job.graph.example_input)

    @torch.no_grad()
    def limit(self, memory: float) -> int:
        """Return how many samples fit into so many bytes, after a look at whether the task gives the metrics.

        Raises
        ------
        ValueError
            For a metric that it cannot give, with those that it can, and for a network that it is not for.
        ReplayError
            For a model that does not do the same each time.
        """
        count = min(self._job.batch_size, self._job.total)
        inputs, targets = self._placed(*self._reader.read(0, count))
        one = cut(inputs, 0, 1, count)
        with taking(self._job.graph.model, one, self._job.task):
            look = first_look(self._job.graph.model, one)
        try:
            target = cut(targets, 0, 1, count)
        except ValueError:  # which matters only where a batch must be cut
            return max(1, int(memory / max(1, look.nbytes)))
        kept = 0
        for metric in self._job.chosen:
            check_given(metric, self._job.task, look.outputs, target)
            if isinstance(metric, TaskMetric):
                batches = -(-self._job.total // self._job.batch_size)
                each = metric.nbytes(look.outputs, target, self._job.total, batches)
                kept += each * (len(self._job.points) + 1)
        if kept > memory:
            raise ValueError(
                f"the states of the task's metrics would take {kept / 1e9:.2g} GB, more than memory={memory:g}: ask "
                "for fewer ratios, samples or batches, or set the metric's thresholds, so that it bins what it keeps"
            )
        return max(1, int(memory / max(1, look.nbytes)))

    def silence(self, stop: Stop | None) -> str | None:
        """Tell of metrics that will be 0 everywhere, as the unpruned network gives no answer; None without any."""
        job = self._job

        def samples() -> Iterator[object]:
            for inputs, targets in job.task.val_batches(job.batch_size, job.total):
                count = examples_in(inputs, targets)
                for i in range(count):
                    yield self._placed(cut(inputs, i, i + 1, count), None)[0]

        return silence(job.graph.model, samples(), job.chosen, stop)

    @torch.no_grad()
    def measure(
        self, start: int, end: int, live: Sequence[int], stop: Stop | None, on_answers: OnAnswers | None = None
    ) -> Part | None:
        """Return what some samples say of some points; None when it was stopped.

        ``on_answers`` is told after each point of how many samples it was.

        Raises
        ------
        OutOfMemory
            With the number of samples.
        """
        inputs, targets = self._reader.read(start, end)
        read = digest((inputs, targets)) if self._job.digests else ""
        points = [self._job.points[number] for number in live]
        if self._refits is not None and not self._refits.read(stop):  # before anything is recorded
            return None
        tick = None if on_answers is None else partial(on_answers, end - start)
        try:
            inputs, targets = self._placed(inputs, targets)
            found = measured(self._runner, inputs, targets, self._job.task, points, self._job.chosen, stop, tick)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            words = str(error).partition("\n")[0]
        else:
            return None if found is None else Part(end, found, read)
        # Only here, after the error with all that it holds has gone.
        inputs = targets = None
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        raise OutOfMemory(end - start, words)

    def _placed(self, inputs: object, targets: object) -> tuple[object, object]:
        return on_device(inputs, self._device, channels_last=self._last), on_device(targets, self._device)


@contextmanager
def opened(job: SweepJob) -> Iterator[Bench]:
    """Get ready to measure; the model is as before on exit."""
    graph, dtype = job.graph, job.dtype
    refits = Refits(graph, job.points, job.pictures) if job.pictures else None
    if job.surgery:
        runners: AbstractContextManager[Runner] = running_pruned(graph, dtype, job.task, job.recalibrate, refits)
    else:
        runners = running(graph, dtype, refits)
    with runners as runner:
        yield Bench(job, runner, refits)


def here(bench: Bench, stop: Stop | None, on_answers: OnAnswers | None = None) -> Work:
    """Return the work of one process: part after part; ``on_answers`` as for `Bench.measure`."""

    def work(where: Iterable[tuple[int, int]], live: Live) -> Iterator[Part]:
        for start, end in where:
            points = live()
            halt = not points or (stop is not None and stop())
            part = None if halt else bench.measure(start, end, points, stop, on_answers)
            if part is None:
                return
            yield part

    return work


def parts(work: Work, job: SweepJob, done: int, limit: int, live: Live) -> Iterator[Part]:
    """Yield the parts after ``done`` samples in order; where memory runs out, go on with half as many samples."""
    while True:
        try:
            for part in work(cuts(done, job.total, job.batch_size, limit), live):
                done = part.end
                yield replace(part, limit=limit)
            return
        except OutOfMemory as error:
            if error.samples == 1:
                raise
            limit = error.samples // 2
            message = f"{error}: going on with {limit} at a time. A smaller batch_size or memory avoids it."
        warn(message, RuntimeWarning)


def _out_of_memory(error: BaseException) -> bool:
    words = ("not enough memory", "can't allocate memory", "out of memory", "bad_alloc")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(w in str(error).lower() for w in words)
