"""From the desk to paper: the plan as a file, as code and as a figure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fpgmlab.deployment import LatencyTable
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.rounding import Scores
from fpgmlab.sensitivity import Curves
from fpgmlab.tasks.task import Task
from fpgmlab.widgets.desk.code import criterion_of, desk_code
from fpgmlab.widgets.desk.keeping import KeepingDesk
from fpgmlab.widgets.desk.report import measured_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fpgmlab.figures.style import Style


class PaperDesk(KeepingDesk):
    """A desk whose plan can be taken along."""

    _criterion: tuple[tuple[str, Scores] | None] | None = None  # that gives the scores, once it was asked for

    def _of(
        self, graph: ChannelGraph, curves: Curves, scores: Scores, task: Task | None, table: LatencyTable | None
    ) -> None:
        self._graph, self._curves, self._scores, self._task, self._table = graph, curves, scores, task, table

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON to a path; `Plan.from_json` reads it."""
        self.plan.to_json(path)

    def code(self) -> str:
        """Return cells that make the plan on the desk again in a fresh kernel, with what was measured as comments."""
        with self._lock:
            plan, measured = self.plan, self._measured_of(self.plan)
        if self._criterion is None:
            self._criterion = (criterion_of(self._graph, self._scores),)
        return desk_code(
            self._graph, self._criterion[0], self._task, self._table, plan, measured, self.metric, self.multiple,
            self._repair_samples,
        )  # fmt: skip

    def figure(self, *, metric: str | None = None, style: Style | None = None) -> Figure:
        """Draw the desk as it is, in the metric shown when none is given; see `fpgmlab.figures.desk`.

        What was measured of the plan stands on top, and what is predicted only where nothing was. The style is one of
        `fpgmlab.figures.style`.

        Returns
        -------
        Figure
        """
        import pandas as pd

        from fpgmlab.figures import desk

        with self._lock:
            plan, measured = self.plan, self._measured_of(self.plan)
        columns = ["network", "metric", "value", "low", "high", "samples"]
        rows = pd.DataFrame(measured_rows(measured), columns=columns).replace({"network": {"pruned": "as cut"}})
        groups: Sequence[Mapping[str, Any]] = self.desk["groups"]
        steps = {group["name"]: group["steps"] for group in groups if group.get("steps")}
        return desk(
            self._graph, self._curves, plan, metric=self.metric if metric is None else metric, measured=rows,
            table=self._table, steps=steps, style=style,
        )  # fmt: skip

    def _picture(self) -> Figure:
        return self.figure()

    def _in_words(self) -> str:
        cost, whole = self._graph.cost(self.plan), self._graph.cost()
        remain = f"{cost.macs / whole.macs:.1%} of the MACs, {cost.params / whole.params:.1%} of the parameters"
        return f"PlanEditor of {type(self._graph.model).__name__}. {self.plan!r}; {remain} remain"
