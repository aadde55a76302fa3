"""The desk's work in the background: evaluate, prune, repair, fine-tune, export; one job at a time."""

from __future__ import annotations

import os

import traitlets
from torch import nn

from fpgmlab.common.numbers import whole_number
from fpgmlab.deployment import LatencyTable
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.sensitivity import Curves
from fpgmlab.tasks.task import Task
from fpgmlab.widgets.desk.bars import Bars
from fpgmlab.widgets.desk.payload import Json
from fpgmlab.widgets.desk.requests import checked_training
from fpgmlab.widgets.desk.state import DeskState
from fpgmlab.widgets.desk.workshop import Workshop

_CLOSING = 60  # seconds that `close` waits for a batch to end


class WorkingDesk(DeskState):
    """A desk that measures, prunes, repairs, trains and exports the plan on it, in a thread, on a copy of the network.

    Parameters
    ----------
    bars, desk, **state
        As in `DeskState`.
    graph, curves, task, table
        As in `PlanEditor`.
    """

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
        **state: object,
    ) -> None:
        super().__init__(bars, desk, **state)
        self._shop = Workshop(self._lock, graph, curves, task, table, self._show_work)
        self._show_work()
        self.observe(self._show_work, "plan")

    def evaluate(self) -> None:
        """Start to measure the network as the plan prunes it, before any recovery; see `report` and `wait`.

        Raises
        ------
        RuntimeError
            While other work is running; so do `prune`, `repair`, `fine_tune` and `export`.
        ValueError
            Without a task.
        """
        self._shop.begin("evaluate", self.plan)

    def prune(self) -> None:
        """Start to prune the network by the plan; it will be ``pruned``."""
        self._shop.begin("prune", self.plan)

    def repair(self, samples: int | None = None) -> None:
        """Start to prune the network and refit its weights, as `fpgmlab.repair` does, and to measure it.

        It will be ``pruned``: what is fine-tuned or exported next goes on from there.

        Parameters
        ----------
        samples : int, optional
            Training pictures, without their labels: 512, or as many as there are, when left out. More than there are
            when these are augmented.

        Raises
        ------
        ValueError
            Without a task, and for options out of range.
        """
        self._shop.begin("repair", self.plan, samples=samples if samples is None else whole_number("samples", samples))

    def fine_tune(self, epochs: int = 3, lr: float = 0.02) -> None:
        """Start to train ``pruned``, or what the plan gives when that is of another plan, as `fpgmlab.fit` does.

        Parameters
        ----------
        epochs : int
        lr : float
            Highest learning rate.

        Raises
        ------
        ValueError
            Without a task, and for options out of range.
        """
        epochs, lr = checked_training(epochs, lr)
        self._shop.begin("fine-tune", self.plan, epochs=epochs, lr=lr)

    def export(self, folder: str | os.PathLike[str]) -> None:
        """Start to write ``pruned``, or what the plan gives when that is of another plan, into a folder.

        The weights (`fpgmlab.load` reads them), ONNX, the plan and a report as JSON and as a page: all or nothing.
        """
        self._shop.begin("export", self.plan, folder=folder)

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
        """Wait for the end of the work, at most so many seconds; return whether it has come."""
        return self._shop.wait(timeout)

    def close(self) -> None:
        """End the work and take the desk off the screen."""
        shop = getattr(self, "_shop", None)  # ipywidgets closes what was never quite made, too
        if shop is not None:
            shop.cancel()
            shop.wait(_CLOSING)
        super().close()

    def _show_work(self, change: object = None) -> None:
        with self._lock:
            self.work, self.results = self._shop.payload(self.plan), self._shop.results(self._bars)
            self.set_trait("pruned", None if self._shop.made is None else self._shop.made.model)
