"""One run of a sweep in a thread of its own."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Sequence
from typing import TypedDict

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.rounding import Scores
from fpgmlab.sensitivity import Curves, sweep
from fpgmlab.tasks.task import Task
from fpgmlab.widgets.common.worker import Worker


class Options(TypedDict, total=False):
    """Keywords of `fpgmlab.sweep` that a panel may give."""

    ratios: Sequence[float]
    metrics: list[str]
    max_samples: int | None
    batch_size: int | None
    dtype: str
    path: str | os.PathLike[str] | None
    tolerance: float | None


class SweepRun(Worker):
    """A sweep in a worker thread, on a copy of the network: other cells may use, or change, the network meanwhile.

    Parameters
    ----------
    graph, scores, task
        As in `fpgmlab.sweep`.
    options : mapping
        Its keywords.
    on_update : callable
        Called in the thread with the curves after a batch, and with None in between, when something may have changed
        for whoever looks on. Never more often than every ``interval`` seconds.
    on_end : callable
        Called in the thread at the end with the curves not told of before, or None, and the error, or None.
    interval : float
        Seconds.

    Attributes
    ----------
    passes : int
        Forward passes that were begun; `stop` ends it before the next.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        scores: Scores,
        task: Task,
        options: Options,
        on_update: Callable[[Curves | None], None],
        on_end: Callable[[Curves | None, Exception | None], None],
        interval: float = 0.25,
    ) -> None:
        super().__init__("sweep")
        # Here and not in the thread: the caller's next line may change the network.
        self._graph = copy.deepcopy(graph)
        self._scores, self._task, self._options = dict(scores), task, options.copy()
        self._on_update, self._on_end, self._interval = on_update, on_end, interval
        self._fresh: Curves | None = None
        self.passes = 0
        self._drawn = self._told = float("-inf")

    def start(self) -> None:
        """Begin."""
        self.begin(self._work)

    def _work(self) -> None:
        curves, error = None, None
        try:
            curves = sweep(
                self._graph, self._scores, self._task, **self._options, stop=self._asked, on_update=self._updated,
                progress=False,
            )  # fmt: skip
        except Exception as caught:  # whatever a network or a data set may raise is shown
            curves, error = self._fresh, caught
        self._on_end(curves, error)

    def _updated(self, curves: Curves) -> None:
        self._fresh = curves
        self._tell()

    def _asked(self) -> bool:
        """Answer the sweep before each forward pass: a good moment to tell how far it is."""
        self._tell()
        self.passes += 1
        return self.stopping

    def _tell(self) -> None:
        now = time.monotonic()
        if self._fresh is not None and now - self._drawn >= self._interval:
            fresh, self._fresh = self._fresh, None
            self._on_update(fresh)
            self._drawn = self._told = now
        elif now - self._told >= self._interval:
            self._on_update(None)
            self._told = now
