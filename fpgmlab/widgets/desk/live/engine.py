"""Measures the plan on the desk in a thread: first on a few pictures, then on more, until the next edit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from fpgmlab.common.numbers import counted
from fpgmlab.deployment import LatencyTable
from fpgmlab.errors import one_of
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.sensitivity.pictures import Tally
from fpgmlab.tasks.task import Task
from fpgmlab.widgets.common.failures import in_words
from fpgmlab.widgets.common.seat import in_class
from fpgmlab.widgets.common.turns import in_turn
from fpgmlab.widgets.desk.bars import Bars
from fpgmlab.widgets.desk.live.agenda import Agenda, Step, Subject
from fpgmlab.widgets.desk.live.measurer import Measured, Measurer, differences, measurer_of
from fpgmlab.widgets.desk.live.memory import NOTHING, Stage, plan_digest
from fpgmlab.widgets.desk.live.networks import Superseded
from fpgmlab.widgets.desk.live.stepping import Stepping
from fpgmlab.widgets.desk.payload import Json

MEASURES = ("repaired", "as cut", None)
FEW, MOMENT = 256, 0.25  # pictures, or seconds, after which a first value is good enough to go on with the next network
REST = 1.0  # seconds without an edit after which the network is timed
TOLD = 0.2  # seconds between two news of the same network


class Live(Stepping[Step]):
    """Measures what is on the desk by itself.

    Parameters
    ----------
    lock : threading.Condition
        The desk's; its methods are called with it held.
    bars : Bars
    graph : ChannelGraph
    task : task or None
    metrics : sequence of str
        Those of the curves.
    table : LatencyTable or None
        The network on the desk is timed too, in its runtime.
    measure : {"repaired", "as cut"} or None
        How far a plan is followed.
    busy : callable
        Tells whether other work is running: then it waits.
    on_change : callable
        Called, with the lock held, when there is something new to show.
    repair_samples : int, optional
        Training pictures that networks are repaired with; see `fpgmlab.repair`.
    """

    def __init__(
        self, lock: threading.Condition, bars: Bars, graph: ChannelGraph, task: Task | None, metrics: Sequence[str],
        table: LatencyTable | None, measure: str | None, busy: Callable[[], bool], on_change: Callable[[], None],
        repair_samples: int | None = None,
    ) -> None:  # fmt: skip
        if measure not in MEASURES:
            raise ValueError(one_of("measure", measure, MEASURES))
        super().__init__(lock)
        self._graph, self._task, self._metrics = graph, task, metrics
        self._measure, self._busy, self._on_change = measure if task is not None and metrics else None, busy, on_change
        self._table, self._repair_samples = table, repair_samples
        self.agenda = Agenda(bars, self._measure == "repaired", table is not None and not in_class())
        self._measurer: Measurer | None = None
        self._told, self._paused = 0.0, False
        self.doing, self._words, self._share = "", "", 0.0

    # What the desk asks for ------------------------------------------------------------------------------------------

    def show(self, plan: Plan) -> None:
        """Measure this plan now: it is on the desk."""
        if self._measure is None:
            return
        if self._measurer is not None and self._measurer.stale():
            self.agenda.forget()
            self._measurer = None
        subject, shown = self.agenda.subject(plan), self.agenda.shown
        if shown is None or subject.digest != shown.digest:
            for stage in subject.entry.stages.values():
                stage.failed = ""  # it may go better now
            self.agenda.shown, self.agenda.glimpse, self._paused = subject, None, False
            self._interrupt()

    def look(self, plan: Plan) -> None:
        """Measure this plan as cut on a few pictures: it passes by under the pointer; see `Agenda.glimpsed`."""
        if self._measure is None:
            return
        subject = self.agenda.subject(plan, passing=True)
        if subject.entry.stages["as cut"].over or subject.entry.stages["as cut"].begun:
            self.agenda.glimpsed = subject
            self._on_change()
            return
        self.agenda.glimpse = subject
        self._interrupt()

    def want(self, plan: Plan) -> None:
        """Measure this plan too, as soon as that on the desk is done, so that `compare` can tell of it."""
        if self._measure is None:
            return
        subject = self.agenda.subject(plan)
        for stage in subject.entry.stages.values():
            if stage.tally is None:
                stage.tally, stage.complete = Tally(), False
        others = [each for each in self.agenda.others if each.digest != subject.digest]
        self.agenda.others = [*others[-1:], subject]
        self._start()

    def heed(self) -> None:
        """Let go of what is under way as long as other work is running, and go on when it has ended."""
        if self._busy():
            self._turn += 1
        else:
            self._start()

    def pause(self, timeout: float) -> None:
        """Let go of what is under way until another plan is shown; wait so many seconds at most for that."""
        self._paused = True
        self._turn += 1
        self._lock.notify_all()
        if threading.current_thread() not in self._threads:
            self._lock.wait_for(lambda: self.doing in ("", "waiting"), timeout)
        self._on_change()

    def compare(self, a: Plan, b: Plan) -> list[Json]:
        """Return how two plans differ on the pictures that both have seen; see `differences`."""
        first, second = (self.agenda.memory.get(plan_digest(plan)) for plan in (a, b))
        if self._measurer is None or first is None or second is None:
            return []
        return differences(self._measurer, first, second)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the plan on the desk is measured on all pictures; tell whether it is."""
        if threading.current_thread() in self._threads:
            return self.agenda.over
        self._lock.wait_for(lambda: self.agenda.over or self._paused or self._closed.is_set(), timeout)
        return self.agenda.over

    def payload(self, revision: int) -> Json:
        """Return what a desk shows of the plan on it; see `live` of `WorkingDesk`."""
        why, shown, own, of = self._why(), self.agenda.shown, None, 0
        if self._measurer is not None:
            own, of = self._measurer.own, self._measurer.total
        return (NOTHING if shown is None else shown.entry.payload) | {
            "revision": revision, "of": of, "own": own, "why": why, "doing": self.doing, "words": self._words,
            "share": self._share,
        }  # fmt: skip

    def _why(self) -> str:
        if self._task is None:
            return "Predicted only: no task was given, PlanEditor(graph, curves, task)."
        if not self._metrics:
            return "Nothing is measured: the curves have no metric."
        if self._measure is None:
            return "Predicted only: measure=None."
        stages = {} if self.agenda.shown is None else self.agenda.shown.entry.stages
        failed = [f"{name.capitalize()}: {stage.failed}" for name, stage in stages.items() if stage.failed]
        if self._paused and not self.agenda.over:
            failed.append("Paused: what is not measured yet will be after the next edit.")
        return " ".join(failed)

    # Who does it -----------------------------------------------------------------------------------------------------

    def _next(self) -> Step | None:
        return None if self._paused or self._busy() else self.agenda.next()

    def _rest(self) -> None:
        self.doing, self._words = ("waiting" if self._busy() else ""), ""
        self.agenda.memory.trim()
        self._tell(at_once=True)

    def _do(self, step: Step, check: Callable[[], None]) -> None:
        self.doing = step.doing
        subject = step.subject
        name = "as cut" if step.doing == "glimpse" else step.doing
        stage = subject.entry.stages.get(name)
        try:
            measurer = self._tools()
            with in_turn(step.rank, check, self._waits) as go_on:
                if step.doing == "warm":
                    measurer.warm(go_on)
                    self.agenda.warm = True
                elif stage is None:
                    self._time(measurer, subject, go_on)
                else:
                    tally = stage.tally or Tally()
                    found = measurer.more(name, subject.plan, subject.digest, tally, go_on, self._on_layer)
                    self._note(step, stage, found)
        except Superseded:
            raise
        except BaseException as error:  # networks and data sets raise what they like
            self._failed(step, stage, in_words(error))

    def _tools(self) -> Measurer:
        with self._lock:
            assert self._task is not None
            if self._measurer is None:
                self._measurer = measurer_of(self._graph, self._task, self._metrics, self._repair_samples)
            return self._measurer

    def _note(self, step: Step, stage: Stage, measured: Measured) -> None:
        with self._lock:
            first, seen = not stage.found, measured.tally.seen
            stage.tally, stage.complete = measured.tally, measured.complete
            stage.seconds += measured.seconds
            stage.begun = stage.complete or seen >= FEW or stage.seconds >= MOMENT
            if measured.found is not None and (stage.complete or seen >= stage.samples):
                stage.found = measured.found
            self._words = f"{step.doing.capitalize()}: {seen:,} of {counted(measured.total, 'picture')}"
            self._share = seen / measured.total
            glimpse = step.doing == "glimpse"
            if glimpse:
                self.agenda.glimpsed, self.agenda.glimpse = step.subject, None
            if stage.complete:
                self.agenda.memory.trim()
            self._tell(at_once=first or stage.complete or glimpse)

    def _time(self, measurer: Measurer, subject: Subject, check: Callable[[], None]) -> None:
        assert self._table is not None
        until = time.monotonic() + REST
        while time.monotonic() < until:
            check()
            time.sleep(0.05)
        with self._lock:
            self._words = "Timing the network"
            self._tell(at_once=True)
        found = measurer.timed(subject.plan, subject.digest, self._table)
        subject.entry.timed, subject.entry.untimed = found, found is None

    def _failed(self, step: Step, stage: Stage | None, words: str) -> None:
        with self._lock:
            if stage is None:  # the gauge of the table stays; a repair will say why
                self.agenda.warm = self.agenda.warm or step.doing == "warm"
                step.subject.entry.untimed = step.doing == "timing"
            else:
                stage.failed = words
            if step.doing == "glimpse":
                self.agenda.glimpse = None
            self._tell(at_once=True)

    def _on_layer(self, done: int, layers: int) -> None:
        with self._lock:
            self.doing, self._share = "repair", done / layers
            self._words = f"Repairing: {done} of {counted(layers, 'layer')}"
            self._tell()

    def _waits(self) -> None:
        with self._lock:
            self.doing, self._words, self._share = "waiting", "Waiting: others of the class are being served.", 0.0
            self._tell()

    def _tell(self, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._told >= TOLD:
            self._told = now
            self._on_change()
