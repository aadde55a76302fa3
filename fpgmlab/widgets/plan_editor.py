"""`PlanEditor`: a mixing desk for a network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import traitlets
from torch import nn

from fpgmlab.allocation import LatencyTable, allocate, equal_loss
from fpgmlab.allocation.forecast import Forecast, forecast
from fpgmlab.errors import unknown
from fpgmlab.graph import ChannelGraph
from fpgmlab.plan import Plan
from fpgmlab.rounding import Scores, check_rounding
from fpgmlab.sensitivity import Curves
from fpgmlab.widgets.bundle import script, sheet
from fpgmlab.widgets.desk.bars import Bars
from fpgmlab.widgets.desk.payload import desk_payload
from fpgmlab.widgets.desk.report import report_frame
from fpgmlab.widgets.desk.state import DeskState
from fpgmlab.widgets.desk.wishes import BUDGETS, carry_out, check_training, read_wish
from fpgmlab.widgets.desk.workshop import Workshop
from fpgmlab.widgets.failures import in_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_CLOSING = 60  # seconds that `close` waits for a batch to end


class PlanEditor(DeskState):
    """Draw a plan on top of the measured curves, and see what it costs and degrades at once.

    A bar for each channel group: its height is the ratio, its background the drop predicted at each height. The totals
    are computed in the browser with `ChannelGraph.cost`'s own arithmetic, and confirmed by the kernel. What takes
    longer runs in a thread, on a copy of the network, one job at a time.

    Parameters
    ----------
    graph : ChannelGraph
    curves : Curves
        See `fpgmlab.sweep`. Groups without a curve can be pruned, but nothing is predicted for them.
    task : task, optional
        Needed to evaluate and to fine-tune.
    plan : Plan, optional
        What to begin with; nothing is removed when left out.
    scores : mapping of str to Tensor, optional
        The channels with the lowest go first; those that the curves were made with when left out.
    table : LatencyTable, optional
        Adds the latency to the totals and to the budgets; see `fpgmlab.latency_table`.
    metric : str, optional
        The one that is shown first; the task's own when the curves have it, else their first.
    multiple : int
        Bars snap to multiples of so many channels, or all.
    max_ratio : float
        No bar goes higher.

    Attributes
    ----------
    plan : Plan
        What is on the screen. Can be assigned and observed; callbacks may come off the main thread.
    pruned : nn.Module or None
        The network that was pruned, or fine-tuned, last. Can be observed.

    Raises
    ------
    ValueError
        For curves, a plan or a table of another network, and for options out of range.
    """

    _esm = script(
        "common.js", "desk_model.js", "desk_store.js", "desk_words.js", "desk_controls.js", "desk_head.js",
        "desk_gauges.js", "desk_budget.js", "desk_colours.js", "desk_changes.js", "desk_bar.js", "desk_legend.js",
        "desk_overview.js", "desk_pointer.js", "desk_keys.js", "desk_bars.js", "desk_curve.js", "desk_detail.js",
        "desk_labels.js", "desk_plans.js", "desk_tradeoff.js", "desk_snapshots.js", "desk_work_chart.js",
        "desk_work.js", "desk.js",
    )  # fmt: skip
    _css = sheet("common.css", "desk.css", "desk_detail.css", "desk_panels.css", "desk_plans.css", "desk_work.css")

    results = traitlets.Dict().tag(sync=True)
    work = traitlets.Dict().tag(sync=True)
    pruned = traitlets.Instance(nn.Module, allow_none=True, read_only=True)

    def __init__(
        self,
        graph: ChannelGraph,
        curves: Curves,
        task: object = None,
        *,
        plan: Plan | None = None,
        scores: Scores | None = None,
        table: LatencyTable | None = None,
        metric: str | None = None,
        multiple: int = 1,
        max_ratio: float = 1.0,
    ) -> None:
        check_rounding(multiple, max_ratio)
        self._scores = curves.scores if scores is None else scores
        if not self._scores:
            raise ValueError("the curves do not hold the scores they were made with: give scores=")
        bars = Bars(graph, self._scores, table)
        start = bars.nothing if plan is None else bars.whole(plan)
        self._graph, self._curves, self._table, self._max_ratio = graph, curves, table, max_ratio
        desk = desk_payload(graph, curves, self._scores, max_ratio, table)
        shown = _shown(metric, [each["name"] for each in desk["metrics"]], task)
        super().__init__(bars, desk, multiple=multiple, metric=shown)
        self._shop = Workshop(self._lock, graph, curves, task, table, self._show_work)
        self._show_work()
        self.observe(self._show_work, "plan")
        self.plan = start
        self.on_msg(self._asked)

    # Making plans ----------------------------------------------------------------------------------------------------

    @property
    def forecast(self) -> Forecast | None:
        """What the curves expect of the plan in the metric shown; None without curves."""
        return None if self.metric is None else forecast(self._graph, self._curves, self.plan, self.metric)

    def fit_budget(self, method: str = "allocate", **budget: float) -> Plan:
        """Take the best plan within a budget; locked bars stay where they are.

        Parameters
        ----------
        method : {"allocate", "equal_loss"}
        **budget : float
            One of ``macs``, ``params``, ``bytes``, ``latency``, as in `fpgmlab.allocate`.

        Raises
        ------
        ValueError
            As `fpgmlab.allocate`; the plan stays as it is.
        """
        methods = {"allocate": allocate, "equal_loss": equal_loss}
        if method not in methods:
            raise ValueError(unknown("method", method, methods))
        for kind in budget:
            if kind not in BUDGETS:
                raise ValueError(unknown("budget", kind, BUDGETS))
        if method == "equal_loss" and "latency" in budget:
            raise ValueError("equal_loss knows no budget of latency: take method='allocate'")
        own = {"table": self._table} if method == "allocate" else {"metric": self.metric}
        with self._lock:
            names, multiple = list(self._graph), self.multiple
            locked = {names[place]: self.kept[place] for place in self.locked}
        plan = methods[method](
            self._graph, self._curves, scores=self._scores, multiple=multiple, max_ratio=self._max_ratio,
            locked=locked, **own, **budget,
        )  # fmt: skip
        self.plan = plan
        return plan

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON; `Plan.from_json` reads it."""
        self.plan.to_json(path)

    def figure(self, **options: object) -> Figure:
        """Draw the desk as it is; see `fpgmlab.figures.desk`."""
        from fpgmlab.figures import desk

        return desk(self._graph, self._curves, self.plan, **{"metric": self.metric, **options})

    @property
    def report(self) -> pd.DataFrame:
        """What the plan costs and degrades, predicted and, as far as that was done, measured.

        A row for each network ("original", "predicted", "pruned", "fine-tuned") and metric: network, macs, params,
        bytes, latency (ms), metric, value, low, high (the ends of a 95 % interval), samples.
        """
        with self._lock:
            plan, measured = self.plan, self._shop.measured.get(self.plan, {})
        return report_frame(self._graph, self._curves, self._table, plan, measured)

    # Work in the background ------------------------------------------------------------------------------------------

    def evaluate(self) -> None:
        """Start to measure the pruned, not fine-tuned network of the plan; see `report` and `wait`.

        Raises
        ------
        RuntimeError
            While other work is running; so do `prune`, `fine_tune` and `export`.
        ValueError
            Without a task.
        """
        self._shop.begin("evaluate", self.plan)

    def prune(self) -> None:
        """Start to prune the network by the plan; it will be ``pruned``."""
        self._shop.begin("prune", self.plan)

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
        check_training(epochs, lr)
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

    def _asked(self, widget: object, content: object, buffers: object) -> None:
        try:
            words = carry_out(self, self._bars, read_wish(content))
        except Exception as error:  # whatever a network or a disk may raise is shown
            self._say("error", in_words(error))
        else:
            if words:
                self._say("info", words)


def _shown(metric: str | None, known: list[str], task: object) -> str | None:
    if metric is not None:
        if metric not in known:
            raise ValueError(f"the curves do not have it: {unknown('metric', metric, known)}")
        return metric
    own = getattr(task, "metric_name", None)
    return own if own in known else known[0] if known else None
