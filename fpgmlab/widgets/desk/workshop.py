"""The one job at a time behind the desk, and what came of the last."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from fpgmlab.deployment import LatencyTable
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.sensitivity import Curves
from fpgmlab.tasks.task import Task
from fpgmlab.widgets.common.failures import in_words
from fpgmlab.widgets.desk.bars import Bars
from fpgmlab.widgets.desk.job import Job, Made
from fpgmlab.widgets.desk.jobs import NO_TASK, Order, Outcome, evaluating, exporting, fine_tuning, pruning, repairing
from fpgmlab.widgets.desk.payload import Json, plain, plain_row
from fpgmlab.widgets.desk.report import Measured

JOBS: dict[str, Callable[..., Outcome]] = {
    "evaluate": evaluating,
    "prune": pruning,
    "repair": repairing,
    "fine-tune": fine_tuning,
    "export": exporting,
}
_NEED_TASK = ("evaluate", "repair", "fine-tune")


class Workshop:
    """Does one job at a time, on a copy of the network: other cells may use, or change, the network meanwhile.

    Parameters
    ----------
    lock : threading.Condition
        Held by whoever changes something; let go of by `wait`.
    graph, curves, task, table
        As in `PlanEditor`.
    on_change : callable
        Called, with the lock held, when there is something new to show, and when a job begins or ends.
    repaired : bool
        Whether what a plan gives is repaired, where there are pictures to repair with.
    samples : int, optional
        How many of them.

    Attributes
    ----------
    state : {"idle", "running", "finished", "cancelled", "failed"}
    error : BaseException or None
        Why the last job failed.
    made : Made or None
        The network that was pruned last.
    measured : dict
        By plan, what was measured.
    """

    def __init__(
        self,
        lock: threading.Condition,
        graph: ChannelGraph,
        curves: Curves,
        task: Task | None,
        table: LatencyTable | None,
        on_change: Callable[[], None],
        repaired: bool = False,
        samples: int | None = None,
    ) -> None:
        self._lock, self._on_change = lock, on_change
        self._graph, self._curves, self._task, self._table = graph, curves, task, table
        self._repaired = repaired and task is not None and len(task.train) > 0
        self._samples = samples
        self._job: Job | None = None
        self._training: Job | None = None  # the last: its chart stays
        self._words, self.state = "", "idle"
        self._files: tuple[str, ...] = ()
        self.error: BaseException | None = None
        self.made: Made | None = None
        self.measured: dict[Plan, Measured] = {}

    def begin(self, kind: str, plan: Plan, measured: Measured, **options: object) -> None:
        """Start a job, of a plan of which something may be measured already.

        Raises
        ------
        RuntimeError
            While another is running.
        ValueError
            When it needs a task, and there is none.
        """
        with self._lock:
            if self._running is not None:
                raise RuntimeError(f"{self._running.kind} is running: cancel() it, or wait() for its end")
            if self._why(kind):
                raise ValueError(f"{kind}: {self._why(kind)}")
            job = self._job = Job(kind, self._updated)
            self._training = job if kind == "fine-tune" else self._training
            self.state, self.error, self._words, self._files = "running", None, "", ()
            self._on_change()
            try:
                # Here and not in the thread: the caller's next line may change the network.
                graph = copy.deepcopy(self._graph)
            except Exception as error:
                self._ended(job, plan, None, error)
                return
            made = self.made if self.made is not None and self.made.plan == plan else None
            order = Order(
                graph, self._curves, self._task, self._table, plan, made, measured, self._repaired, self._samples
            )
            job.start(partial(JOBS[kind], job, order, **options), partial(self._ended, job, plan))

    def cancel(self) -> None:
        """Ask the job to end soon."""
        with self._lock:
            if self._running is not None:
                self._running.stop()
                self._on_change()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end, at most so many seconds; return whether it has come. Its own callbacks do not wait."""
        with self._lock:
            if self._job is not None and threading.current_thread() is self._job.thread:
                return self.state != "running"
            ended = self._lock.wait_for(lambda: self.state != "running", timeout)
            thread = None if self._job is None else self._job.thread
        if ended and thread is not None:
            thread.join()  # an interpreter that exits now would meet it among its last lines
        return ended

    def payload(self, plan: Plan) -> Json:
        """Return what a desk with this plan shows of the work."""
        job, training, running = self._job, self._training, self._running
        why = {kind: self._why(kind) if running is None else f"{running.kind} is running" for kind in JOBS}
        stopping = running is not None and running.stopping
        words = self._words if running is None else running.words
        return {
            "running": None if running is None else running.kind,
            "stopping": stopping,
            "state": self.state,
            "words": "Cancelling: what is under way is still coming to its end." if stopping else words,
            "share": (1.0 if self.state == "finished" else job.share) if job is not None else 0.0,
            "message": "" if self.error is None else in_words(self.error),
            "can": {kind: not reason for kind, reason in why.items()},
            "why": {kind: reason for kind, reason in why.items() if reason},
            "steps": [] if training is None else [[step, plain(loss)] for step, loss in training.trace.points],
            "epochs": [] if training is None else [plain_row(row) for row in training.epochs],
            "total": 0 if training is None else training.steps,
            "metric": getattr(self._task, "metric_name", None),
            "files": list(self._files),
            "pruned": self._of_made(plan),
        }

    def results(self, bars: Bars) -> dict[str, dict[str, Any]]:
        """Return what was measured by the numbers of kept channels, of plans that the bars still stand for."""
        kept = {plan: bars.kept(plan) for plan in self.measured}
        return {
            ",".join(map(str, numbers)): {network: plain_row(found) for network, found in self.measured[plan].items()}
            for plan, numbers in kept.items()
            if bars.of(numbers) == plan
        }

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self._running is not None

    @property
    def _running(self) -> Job | None:
        return self._job if self.state == "running" else None

    def _why(self, kind: str) -> str:
        needed = kind in _NEED_TASK and self._task is None
        return NO_TASK if needed else ""

    def _of_made(self, plan: Plan) -> Json | None:
        if self.made is None:
            return None
        words = f"{self._graph.cost(self.made.plan)}, {self.made.words}"
        return {"words": words, "current": self.made.plan == plan}

    # What comes from the job's thread --------------------------------------------------------------------------------

    def _updated(self) -> None:
        with self._lock:
            self._on_change()

    def _ended(self, job: Job, plan: Plan, outcome: Outcome | None, error: BaseException | None) -> None:
        with self._lock:
            self.made = job.made or self.made
            self.error = error
            if outcome is not None:
                self._files, self._words = outcome.files, outcome.words
                if outcome.measured:
                    self.measured[plan] = {**self.measured.get(plan, {}), **outcome.measured}
            else:
                self._words = f"Failed: {job.kind}." if error is not None else f"Cancelled: {job.kind}."
            cancelled = outcome is None or outcome.cancelled
            self.state = "failed" if error is not None else "cancelled" if cancelled else "finished"
            self._lock.notify_all()
            self._on_change()
