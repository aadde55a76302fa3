"""The desk's work in the background: what is measured by itself; and evaluate, prune, repair, fine-tune, export."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import traitlets
from torch import nn

from fpgmlab.common.numbers import whole_number
from fpgmlab.deployment import LatencyTable
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.sensitivity import Curves
from fpgmlab.tasks.task import Task
from fpgmlab.widgets.desk.bars import Bars
from fpgmlab.widgets.desk.live.engine import Live
from fpgmlab.widgets.desk.live.memory import measured_frame, plan_digest
from fpgmlab.widgets.desk.payload import Json, finite_metrics
from fpgmlab.widgets.desk.report import Measured
from fpgmlab.widgets.desk.requests import checked_training
from fpgmlab.widgets.desk.stepping import SteppingDesk
from fpgmlab.widgets.desk.workshop import Workshop

if TYPE_CHECKING:
    import pandas as pd

_CLOSING = 60  # seconds that `close` waits for a batch to end
_POINTS = 150  # plans that the trade-off plot shows at most


class WorkingDesk(SteppingDesk):
    """A desk that measures, prunes, repairs, trains and exports the plan on it, in a thread, on a copy of the network.

    Parameters
    ----------
    bars, desk, **state
        As in `DeskState`.
    graph, curves, task, table, measure, repair_samples
        As in `PlanEditor`.

    Attributes
    ----------
    live : dict
        What is measured of the plan on the desk: ``kept``, ``revision``; ``networks``, by "as cut" and "repaired" and
        metric: value, low, high, reference (the unpruned network on the same pictures), samples; ``samples`` by
        network, ``of`` how many; ``own``, the task's metric where the curves have others; ``doing``, ``words``,
        ``share`` of what is under way; ``why`` nothing is measured; ``timed``, milliseconds of the real network.
    glimpse : dict
        The same of a plan that a pointer passed by: kept, networks, samples, of.
    points : list of dict
        All plans that were measured, the newest last: kept, macs, latency, and by network the metrics' values.
    """

    live = traitlets.Dict().tag(sync=True)
    glimpse = traitlets.Dict().tag(sync=True)
    points = traitlets.List(traitlets.Dict()).tag(sync=True)
    results = traitlets.Dict().tag(sync=True)
    work = traitlets.Dict().tag(sync=True)
    pruned = traitlets.Instance(nn.Module, allow_none=True, read_only=True)

    def __init__(
        self,
        bars: Bars,
        desk: Json,
        graph: ChannelGraph,
        curves: Curves,
        task: Task | None,
        table: LatencyTable | None,
        measure: str | None,
        repair_samples: int | None,
        **state: object,
    ) -> None:
        super().__init__(bars, desk, **state)
        self._repair_samples = repair_samples
        work = (graph, curves, task, table, self._work_moved, measure == "repaired", repair_samples)
        self._shop = Workshop(self._lock, *work)
        self._live = Live(
            self._lock, bars, graph, task, finite_metrics(curves), table, measure, lambda: self._shop.busy,
            self._show_live, repair_samples,
        )  # fmt: skip
        self._show_work()
        self._show_live()
        self.observe(self._plan_shown, "plan")
        self.observe(self._show_work, "snapshots")

    def evaluate(self) -> None:
        """Start to measure the network as the plan prunes it, before any recovery; see `measured` and `wait`.

        Raises
        ------
        RuntimeError
            While other work is running; so do `prune`, `repair`, `fine_tune` and `export`.
        ValueError
            Without a task.
        """
        self._do("evaluate")

    def prune(self) -> None:
        """Start to prune the network by the plan; it will be ``pruned``."""
        self._do("prune")

    def repair(self, samples: int | None = None) -> None:
        """Start to prune the network and refit its weights, as `fpgmlab.repair` does, and to measure it.

        It will be ``pruned``: what is fine-tuned or exported next goes on from there.

        Parameters
        ----------
        samples : int, optional
            Training pictures, without their labels: ``repair_samples`` of the desk when left out. More than there are
            when these are augmented.

        Raises
        ------
        ValueError
            Without a task, and for options out of range.
        """
        samples = self._repair_samples if samples is None else whole_number("samples", samples)
        self._do("repair", samples=samples)

    def fine_tune(self, epochs: int = 3, lr: float = 0.005) -> None:
        """Start to train ``pruned``, or when that is of another plan what the desk measures of this one, repaired.

        Parameters
        ----------
        epochs : int
        lr : float
            Highest learning rate. A few epochs from repaired weights gain by small steps only: larger ones first undo
            what the repair gave.

        Raises
        ------
        ValueError
            Without a task, and for options out of range.
        """
        epochs, lr = checked_training(epochs, lr)
        self._do("fine-tune", epochs=epochs, lr=lr)

    def export(self, folder: str | os.PathLike[str]) -> None:
        """Start to write ``pruned``, or when that is of another plan what the desk measures of this one, into a folder.

        The weights (`fpgmlab.load` reads them), ONNX, the plan and a report as JSON and as a page: all or nothing.
        """
        self._do("export", folder=folder)

    @property
    def state(self) -> str:
        """Of the work: "idle", "running", "finished", "cancelled" or "failed"."""
        return self._shop.state

    @property
    def error(self) -> BaseException | None:
        """Why the last work failed."""
        return self._shop.error

    def cancel(self) -> None:
        """Ask the work to end soon; a training keeps its best weights so far."""
        self._shop.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the work has ended and the plan on the desk is measured, see `measured`.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        bool
            Whether that has come; at once that it has not, after `pause`.
        """
        until = None if timeout is None else time.monotonic() + timeout
        if not self._shop.wait(timeout):
            return False
        with self._lock:
            return self._live.wait(None if until is None else max(0.0, until - time.monotonic()))

    @property
    def measured(self) -> pd.DataFrame:
        """What is measured so far of the plan on the desk.

        A row for each network ("as cut", "repaired") and metric: network, metric, value, low, high, samples. The ends
        of a 95 % interval are those of the difference to the unpruned network on the same pictures, put at its value;
        infinite where nothing is known of it. Of the plan that removes nothing "as cut" is the unpruned network.
        """
        with self._lock:
            shown = self._live.agenda.shown
            return measured_frame(None if shown is None or shown.plan != self.plan else shown.entry)

    def look(self, kept: Sequence[int]) -> None:
        """Measure a plan that is not on the desk, by the numbers kept, on a few pictures, as cut; see `glimpse`."""
        with self._lock:
            self._bars.check(kept)
            self._live.look(self._bars.of(kept))

    def pause(self) -> None:
        """Measure nothing more by itself until the next edit, so that another cell has the machine to itself."""
        with self._lock:
            self._live.pause(_CLOSING)

    def close(self) -> None:
        """End the work and take the desk off the screen."""
        shop, live = getattr(self, "_shop", None), getattr(self, "_live", None)  # it may never have been quite made
        if shop is not None and live is not None:
            shop.cancel()
            with self._lock:
                live.close()
            shop.wait(_CLOSING)
        super().close()

    def _plan_shown(self, change: object = None) -> None:
        with self._lock:
            self._show_points()
            self._live.show(self.plan)
            self._show_work()
            self._show_live()

    def _work_moved(self) -> None:
        self._live.heed()
        self._show_work()

    def _show_live(self) -> None:
        with self._lock:
            self.live = self._live.payload(self.revision)
            seen = self._live.agenda.glimpsed
            if seen is not None:
                found = seen.entry.payload
                self.glimpse = {name: found[name] for name in ("kept", "networks", "samples")} | {"of": self.live["of"]}
            if self._live.agenda.over:
                self._show_points()
                self.results = self._results()

    def _show_points(self) -> None:
        self.points = self._live.agenda.memory.points(_POINTS)

    def _show_work(self, change: object = None) -> None:
        with self._lock:
            self.work, self.results = self._shop.payload(self.plan), self._results()
            self.set_trait("pruned", None if self._shop.made is None else self._shop.made.model)

    def _results(self) -> dict[str, dict[str, Any]]:
        """Return what was measured of the plan on the desk, and of others by jobs."""
        found = self._shop.results(self._bars)
        entry = self._live.agenda.memory.get(plan_digest(self.plan))
        if entry is not None and entry.measured:
            found[entry.key] = entry.results | found.get(entry.key, {})
        return found

    def _do(self, kind: str, **options: object) -> None:
        self._shop.begin(kind, self.plan, self._measured_of(self.plan), **options)

    def _measured_of(self, plan: Plan) -> Measured:
        """Return what was measured of a plan: by jobs, and by itself."""
        entry = self._live.agenda.memory.get(plan_digest(plan))
        return {**({} if entry is None else entry.results), **self._shop.measured.get(plan, {})}
