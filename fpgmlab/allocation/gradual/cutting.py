"""What one step cuts: the network as it is now is traced, scored, and planned down to what may remain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from fpgmlab.allocation.gradual.lineage import Lineage
from fpgmlab.allocation.planner import allocate
from fpgmlab.common.interrupts import Stopped
from fpgmlab.criteria import score
from fpgmlab.criteria.rules import Criterion
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Multiple
from fpgmlab.sensitivity import sweep
from fpgmlab.surgery.tracing import trace
from fpgmlab.tasks.task import Task

_IN_PART = "its channels were one of the first network, the last head perhaps, which stays or goes as a whole"


@dataclass(frozen=True, eq=False)
class Cutter:
    """Chooses what goes in one step.

    Attributes
    ----------
    origin : ChannelGraph
        Of the network before the first step.
    task : task
    criterion : str or Criterion
    kind : str
        Of the budget: a field of `fpgmlab.Cost`.
    multiple : int or "runtime"
    protect : sequence of str
    swept : mapping or None
        Options of `fpgmlab.sweep`, where the step is allocated by it; None for uniform cuts.
    stop : callable or None
    progress : bool
    """

    origin: ChannelGraph
    task: Task
    criterion: str | Criterion
    kind: str
    multiple: Multiple
    protect: Sequence[str]
    swept: Mapping[str, Any] | None
    stop: Callable[[], bool] | None
    progress: bool

    def share(self, gone: Plan) -> float:
        """Return what remains of the budget's kind, as a fraction of the whole network."""
        return float(getattr(self.origin.cost(gone), self.kind) / getattr(self.origin.cost(), self.kind))

    def cut(self, network: nn.Module, gone: Plan, budget: float, path: Path | None) -> tuple[ChannelGraph, Plan, Plan]:
        """Return the network's graph, what is to be cut from it, and all that is gone of the first one then.

        Parameters
        ----------
        network : nn.Module
            As it is now.
        gone : Plan
            Of the first network: what was cut before.
        budget : float
            What may remain, as a fraction of the whole network.
        path : Path or None
            A folder for the progress of a sweep.
        """
        graph = trace(network, self.origin.example_input, layers=self.origin.rules)
        barred = {name: group.protected for name, group in self.origin.items() if group.protected and name in graph}
        graph = graph.protecting({name: reason for name, reason in barred.items() if graph[name].protected is None})
        lineage = Lineage(self.origin, gone, graph)
        graph = graph.protecting({name: _IN_PART for name in lineage.in_part if graph[name].protected is None})
        scores = score(graph, self.criterion, progress=self.progress)
        if self.share(gone) <= budget:  # whole blocks may be cut further than a step asks for
            return graph, lineage.to_go(gone), gone
        if self.swept is None:
            # Planned on the whole network, so that its groups are cut alike: what is gone goes first.
            asked: dict[str, Any] = {self.kind: budget}
            plan = Plan.uniform(
                self.origin, lineage.carried(scores), **asked, multiple=self.multiple, protect=self.protect
            )
            fewer = {name: plan.removed[name] for name in plan.widths if plan.kept[name] < gone.kept[name]}
            gone = Plan(gone.widths, {**gone.removed, **fewer})
            return graph, lineage.to_go(gone), gone
        curves = sweep(graph, scores, self.task, **self.swept, path=path, stop=self.stop, progress=self.progress)
        if not curves.complete:
            raise Stopped
        asked = {self.kind: budget / self.share(gone)}
        plan = allocate(graph, curves, scores=scores, **asked, multiple=self.multiple, protect=self.protect)
        return graph, plan, lineage.all_gone(plan)
