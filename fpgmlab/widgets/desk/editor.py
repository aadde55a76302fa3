"""`PlanEditor`: a mixing desk for a network."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fpgmlab.allocation import equal_loss
from fpgmlab.allocation.forecast import Forecast, forecast
from fpgmlab.allocation.planner import allocated
from fpgmlab.common.numbers import whole_number
from fpgmlab.deployment import LatencyTable
from fpgmlab.errors import unknown
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Multiple, Scores, check_rounding
from fpgmlab.sensitivity import Curves
from fpgmlab.tasks.task import Task
from fpgmlab.widgets.common.bundle import script, sheet
from fpgmlab.widgets.common.failures import in_words
from fpgmlab.widgets.common.seat import seat
from fpgmlab.widgets.desk.bars import Bars
from fpgmlab.widgets.desk.keeping import open_file
from fpgmlab.widgets.desk.looking import LookingDesk
from fpgmlab.widgets.desk.payload import desk_payload, finite_metrics
from fpgmlab.widgets.desk.report import report_frame
from fpgmlab.widgets.desk.requests import BUDGETS, METHODS, Request, place_of, read_request

if TYPE_CHECKING:
    import pandas as pd


_STATIC = Path(__file__).parent / "static"
_VIEWS = Path(__file__).parents[1] / "explorer" / "static"  # of filters: shared with `FilterExplorer`


class PlanEditor(LookingDesk):
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
        Needed to evaluate, to repair and to fine-tune.
    plan : Plan, optional
        What to begin with; nothing is removed when left out.
    scores : mapping of str to Tensor, optional
        (channels,) by group: the lowest go first; those that the curves were made with when left out.
    table : LatencyTable, optional
        Adds the milliseconds to the totals and to the budgets, and the steps of the runtime to the bars; see
        `fpgmlab.latency_table`.
    as_cut : Curves, optional
        Of points as cut, where ``curves`` are of repaired ones: the bars can show either.
    metric : str, optional
        The one that is shown first; the task's own when the curves have it, else their first.
    multiple : int or "runtime"
        Bars snap to multiples of so many channels, or all; ``"runtime"``: to counts that runtimes do not waste here,
        with a table to the ends of its steps.
    max_ratio : float
        No bar goes higher.
    large : bool
        Type and pictures for a room.
    measure : {"repaired", "as cut"} or None
        What is measured of each plan on the desk by itself, in the background, with a task: the pruned network and
        then the repaired one; only the first; or nothing, and the plan is only predicted.
    repair_samples : int, optional
        Training pictures that plans are repaired with; as many as `fpgmlab.repair` takes when left out.
    budget : float
        0 < budget <= 1: the share to keep that the field of the budget begins with.
    path : path-like, optional
        A file, such as ``"outputs/desk.json"``, that keeps plan, snapshots, history and measurements. A desk of the
        same network, scores and curves goes on with what it holds, whatever ``plan`` and other options say.

    Attributes
    ----------
    plan : Plan
        What is on the screen. Can be assigned and observed; callbacks may come off the main thread.
    pruned : nn.Module or None
        The network that was pruned, repaired or fine-tuned last. Can be observed.

    Raises
    ------
    ValueError
        For curves, a plan or a table of another network, for options out of range, and for a ``path`` that holds
        something else.
    """

    _esm = script(_STATIC / "desk.js")
    _css = sheet(_VIEWS, _STATIC)

    def __init__(
        self,
        graph: ChannelGraph,
        curves: Curves,
        task: Task | None = None,
        *,
        plan: Plan | None = None,
        scores: Scores | None = None,
        table: LatencyTable | None = None,
        as_cut: Curves | None = None,
        metric: str | None = None,
        multiple: Multiple = "runtime",
        max_ratio: float = 1.0,
        large: bool = False,
        measure: str | None = "repaired",
        repair_samples: int | None = None,
        budget: float = 0.5,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        check_rounding(multiple, max_ratio)
        if not 0 < budget <= 1:
            raise ValueError(f"budget must be the share that may remain, 0 < budget <= 1; got {budget}")
        if repair_samples is not None:
            whole_number("repair_samples", repair_samples)
        self._scores = curves.scores if scores is None else scores
        if not self._scores:
            raise ValueError("the curves do not hold the scores they were made with: give scores=")
        bars = Bars(graph, self._scores, table)
        start = bars.nothing if plan is None else bars.whole(plan)
        self._of(graph, curves, self._scores, task, table)
        self._max_ratio = max_ratio
        desk = desk_payload(graph, curves, self._scores, max_ratio, table, as_cut) | {"budget": budget, "seat": seat()}
        file, stored = open_file(path, graph, self._scores, curves)
        shown = _shown(metric, finite_metrics(curves), task)
        work = (graph, curves, task, table, measure, repair_samples)
        super().__init__(bars, desk, *work, multiple=multiple, metric=shown, large=large)
        self._begin(start)
        if file is not None:
            self._keep(file, stored, task)
        self._plan_shown()
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

        Returns
        -------
        Plan

        Raises
        ------
        ValueError
            As `fpgmlab.allocate`; the plan stays as it is.
        """
        if method not in METHODS:
            raise ValueError(unknown("method", method, METHODS))
        for kind in budget:
            if kind not in BUDGETS:
                raise ValueError(unknown("budget", kind, BUDGETS))
        if method == "equal_loss" and "latency" in budget:
            raise ValueError("equal_loss knows no budget of latency: take method='allocate'")
        with self._lock:
            names, multiple = list(self._graph), self.multiple
            locked = {names[place]: self.kept[place] for place in self.locked}
            scores = self._bars.scores
        macs, params, size, latency = (budget.get(kind) for kind in BUDGETS)
        if method == "allocate":
            plan = allocated(
                self._graph, self._curves, scores=scores, macs=macs, params=params, bytes=size, latency=latency,
                multiple=multiple, max_ratio=self._max_ratio, locked=locked, table=self._table,
            )  # fmt: skip
        else:
            plan = equal_loss(
                self._graph, self._curves, scores=scores, macs=macs, params=params, bytes=size,
                metric=self.metric, multiple=multiple, max_ratio=self._max_ratio, locked=locked,
            )  # fmt: skip
        self.plan = plan
        return plan

    @property
    def report(self) -> pd.DataFrame:
        """What the plan costs and degrades, predicted and, as far as that was done, measured.

        A row for each network ("original", "predicted", "pruned", "repaired", "fine-tuned") and metric: network, macs,
        params, bytes, latency (ms), metric, value, low, high (the ends of a 95 % interval), samples.
        """
        with self._lock:
            plan, measured = self.plan, self._measured_of(self.plan)
        return report_frame(self._graph, self._curves, self._table, plan, measured)

    # What the browser asks for --------------------------------------------------------------------------------------

    def _asked(self, widget: object, content: object, buffers: object) -> None:
        try:
            words = self._carry_out(read_request(content))
        except Exception as error:  # whatever a network or a disk may raise is shown
            self._say("error", in_words(error))
        else:
            if words:
                self._say("info", words)

    def _carry_out(self, request: Request) -> str:
        """Do what the browser asks for; return what there is to say of it, or nothing."""
        if request.do == "budget":
            plan = self.fit_budget(request.method, **{request.kind: request.share})
            remains, count = self._bars.share(plan, request.kind), len(self.locked)
            held = f", {count} bar{'s' if count > 1 else ''} locked" if count else ""
            return f"{100 * request.share:.1f} % of the {BUDGETS[request.kind]}: {100 * remains:.1f} % remain{held}"
        path = place_of(request)
        if request.do == "code":
            self.send({"code": self.code()})
            return ""
        if request.do == "save":
            self.save(path)
            if (number := seat()) is None:
                return f"Saved to {path}"
            name = f"plan-of-desk-{number}.json"
            self.send({"plan": self.plan.to_json(), "name": name})
            return f"Downloaded as {name}, and kept for the class"
        acts: dict[str, Callable[[], object]] = {
            "evaluate": self.evaluate,
            "prune": self.prune,
            "repair": self.repair,
            "fine-tune": lambda: self.fine_tune(request.epochs, request.lr),
            "export": lambda: self.export(path),
            "exchange": lambda: self.exchange(self._named(request.group), stay=request.stay, go=request.go),
            "criterion": lambda: self.by_criterion(self._named(request.group)),
            "compare": lambda: self.hold_against(request.a, request.b),
            "filters": lambda: self.look_at_filters(request.group),
            "cancel": self.cancel,
            "confirm": lambda: self.send_state("confirmed"),  # is there anybody?
            "look": lambda: self.look(request.kept),
        }
        acts[request.do]()
        return ""


def _shown(metric: str | None, known: list[str], task: Task | None) -> str | None:
    if metric is not None:
        if metric not in known:
            raise ValueError(f"the curves do not have it: {unknown('metric', metric, known)}")
        return metric
    own = getattr(task, "metric_name", None)
    return own if own in known else known[0] if known else None
