"""`PlanEditor`: a mixing desk for a network."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import traitlets

from fpgmlab.allocation import LatencyTable, allocate, equal_loss
from fpgmlab.errors import unknown
from fpgmlab.graph import ChannelGraph
from fpgmlab.plan import Plan
from fpgmlab.rounding import Scores, check_rounding, lowest
from fpgmlab.sensitivity import Curves
from fpgmlab.widgets.bundle import script, sheet
from fpgmlab.widgets.desk.forecast import Forecast, forecast
from fpgmlab.widgets.desk.payload import cells_kept, desk_payload
from fpgmlab.widgets.prompt import PromptWidget

BUDGETS = ("macs", "params", "bytes", "latency")


class PlanEditor(PromptWidget):
    """Draw a plan on top of the measured curves, and see what it costs and degrades at once.

    A bar for each channel group: its height is the ratio, its background the drop predicted at each height. The totals
    are computed in the browser with `ChannelGraph.cost`'s own arithmetic, and confirmed by the kernel.

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

    Raises
    ------
    ValueError
        For curves, a plan or a table of another network, and for options out of range.
    """

    _esm = script("common.js", "desk_model.js", "desk_store.js", "desk.js")
    _css = sheet("common.css", "desk.css")

    plan = traitlets.Instance(Plan)
    desk = traitlets.Dict().tag(sync=True)
    kept = traitlets.List(traitlets.Int()).tag(sync=True)
    chosen = traitlets.Dict().tag(sync=True)
    revision = traitlets.Int(0).tag(sync=True)
    confirmed = traitlets.Dict().tag(sync=True)
    metric = traitlets.Unicode(allow_none=True).tag(sync=True)
    multiple = traitlets.Int(1).tag(sync=True)
    locked = traitlets.List(traitlets.Int()).tag(sync=True)
    snapshots = traitlets.List(traitlets.Dict()).tag(sync=True)
    current = traitlets.Int(None, allow_none=True).tag(sync=True)
    results = traitlets.Dict().tag(sync=True)
    work = traitlets.Dict().tag(sync=True)
    notice = traitlets.Dict().tag(sync=True)

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
        self._graph, self._curves, self._task, self._table = graph, curves, task, table
        self._scores = curves.scores if scores is None else scores
        if not self._scores:
            raise ValueError("the curves do not hold the scores they were made with: give scores=")
        self._max_ratio = max_ratio
        self._names = tuple(graph)
        # Channels of plans that were assigned: they need not be those with the lowest scores.
        self._assigned: dict[tuple[str, int], tuple[int, ...]] = {}
        # Messages from the browser, cells and the work in the background come from several threads.
        self._lock = threading.RLock()
        desk = desk_payload(graph, curves, self._scores, max_ratio, table)
        nothing = Plan({name: group.channels for name, group in graph.items()}, {})
        super().__init__(
            plan=nothing, desk=desk, kept=[group.channels for group in graph.values()], multiple=multiple,
            metric=_shown(metric, [each["name"] for each in desk["metrics"]], task),
        )  # fmt: skip
        self._confirm()
        if plan is not None:
            self.plan = plan
        self.on_msg(self._asked)

    # The plan, in the kernel and on the screen ----------------------------------------------------------------------

    @traitlets.validate("plan")
    def _fits(self, proposal: dict) -> Plan:
        plan = proposal["value"]
        self._graph.check(plan)
        return Plan(
            {name: group.channels for name, group in self._graph.items()},
            {name: channels for name, channels in plan.removed.items() if channels},
        )

    @traitlets.validate("kept")
    def _can_be_kept(self, proposal: dict) -> list[int]:
        kept = proposal["value"]
        if len(kept) != len(self._graph):
            raise traitlets.TraitError(f"kept must have {len(self._graph)} numbers, one a group; got {len(kept)}")
        for group, count in zip(self._graph.values(), kept, strict=True):
            whole = count == group.channels
            if not (whole or (group.protected is None and 0 < count < group.channels and count % group.step == 0)):
                raise traitlets.TraitError(f"group {group.name!r} cannot keep {count} of {group.channels} channels")
        return kept

    @traitlets.observe("plan")
    def _plan_assigned(self, change: dict) -> None:
        plan = change["new"]
        kept = [plan.kept[name] for name in self._names]
        with self._lock:
            if self._plan_of(kept) != plan:
                self._remember(plan)
            if kept != self.kept:
                with self.hold_sync():
                    self.kept, self.revision = kept, self.revision + 1
            self._confirm()

    @traitlets.observe("kept")
    def _kept_changed(self, change: dict) -> None:
        with self._lock:
            self.plan = self._plan_of(self.kept)
            self._confirm()

    def _plan_of(self, kept: Sequence[int]) -> Plan:
        removed = {}
        for name, count in zip(self._names, kept, strict=True):
            group = self._graph[name]
            if count < group.channels:
                known = self._assigned.get((name, count))
                removed[name] = lowest(group, self._scores, group.channels - count) if known is None else known
        return Plan({name: group.channels for name, group in self._graph.items()}, removed)

    def _remember(self, plan: Plan) -> None:
        """Note the channels of a plan that do not follow the scores, and what the browser needs to know of them."""
        chosen = {g: dict(rows) for g, rows in self.chosen.items()}
        for g, name in enumerate(self._names):
            removed, kept = plan.removed[name], plan.kept[name]
            if removed:
                self._assigned[name, kept] = removed
                if self.desk["groups"][g]["cells"] > 1:
                    chosen.setdefault(str(g), {})[str(kept)] = cells_kept(self._graph, name, removed)
        self.chosen = chosen

    def _confirm(self) -> None:
        """Tell the browser what the kernel makes of the plan."""
        cost = self._graph.cost(self.plan)
        ms = None if self._table is None else self._table.latency(self._graph, self.plan)
        self.confirmed = {
            "revision": self.revision, "macs": cost.macs, "params": cost.params, "bytes": cost.bytes, "latency": ms,
        }  # fmt: skip

    @property
    def forecast(self) -> Forecast | None:
        """What the curves expect of the plan in the metric shown; None without curves."""
        return None if self.metric is None else forecast(self.desk, self.metric, self.kept)

    # Plans that are made ---------------------------------------------------------------------------------------------

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
        options = {"scores": self._scores, "multiple": self.multiple, "max_ratio": self._max_ratio}
        locked = {self._names[g]: self.kept[g] for g in self.locked}
        if method == "allocate":
            options["table"] = self._table
        else:
            options["metric"] = self.metric
        plan = methods[method](self._graph, self._curves, locked=locked, **options, **budget)
        self.plan = plan
        return plan

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON; `Plan.from_json` reads it."""
        self.plan.to_json(path)

    # What the browser asks for ---------------------------------------------------------------------------------------

    def _asked(self, widget: object, content: dict, buffers: object) -> None:
        pass


def _shown(metric: str | None, known: list[str], task: object) -> str | None:
    if metric is not None:
        if metric not in known:
            raise ValueError(f"the curves do not have it: {unknown('metric', metric, known)}")
        return metric
    own = getattr(task, "metric_name", None)
    return own if own in known else known[0] if known else None
