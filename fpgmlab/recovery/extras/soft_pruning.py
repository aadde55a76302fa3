"""Soft pruning: the lowest channels are cut off after each epoch and may grow back in the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fpgmlab.criteria.rules import Criterion
from fpgmlab.criteria.scoring import resolve, score
from fpgmlab.errors import few
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.grouping import Reduction
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import lowest
from fpgmlab.recovery.extras.channels import of_network
from fpgmlab.recovery.extras.extra import Extra, RunningExtra
from fpgmlab.surgery.cutting import masked
from fpgmlab.surgery.simulation import cut_off
from fpgmlab.tasks.task import Task


@dataclass(frozen=True, eq=False)
class SoftPruning(Extra):
    """Cut off the lowest channels at the end of each epoch; they may grow back in the next, and all are ranked again.

    He et al., *Soft Filter Pruning*, IJCAI 2018, arXiv:1808.06866, algorithm 1, which is how the FPGM paper trains (He
    et al., CVPR 2019). What becomes zero are the weights for a channel in the layers that read it, not its filter: a
    filter of zeros leaves the batch norm's shift flowing on, and with the shift at zero as well no gradient would come
    back through a ReLU. So what is judged after an epoch, and kept, gives what the pruned network gives:

    >>> fl.fit(model, task, 10, extras=[fl.SoftPruning(graph, 0.5)])        # doctest: +SKIP
    >>> small = fl.prune(graph, fl.plan_of_zeros(graph))                    # doctest: +SKIP

    Parameters
    ----------
    graph : ChannelGraph
        Of the model that is trained, or of one with its names and shapes. Protected groups are left alone.
    ratio : float, optional
        Of each group, as in `Plan.uniform`; or
    plan : Plan, optional
        How many channels of each group; which ones is found anew each time.
    criterion : str or Criterion
        Ranks the channels by the weights as they are then; see `fpgmlab.score`.
    every : int
        Epochs from one ranking to the next; in between the same channels are cut off. The last epoch ranks again.

    Raises
    ------
    ValueError
        For options out of range, unless one of ratio and plan is given, and where an operation runs over channels
        of which some would go; as a training begins, for a graph of another network.
    TypeError
        For a criterion that is neither a name nor a rule.

    Examples
    --------
    >>> fl.SoftPruning(graph, 0.4)
    SoftPruning(graph=ResNet, ratio=0.4, criterion='fpgm', every=1)
    """

    graph: ChannelGraph
    ratio: float | None = None
    plan: Plan | None = None
    criterion: str | Criterion = "fpgm"
    every: int = 1

    def __post_init__(self) -> None:
        if (self.ratio is None) == (self.plan is None):
            raise ValueError(f"give either a ratio or a plan; got ratio={self.ratio}, plan={self.plan}")
        if self.every < 1:
            raise ValueError(f"every must be at least 1 epoch; got {self.every}")
        resolve(self.criterion)
        counts = self._counts()
        for reduction in self.graph.reductions:
            if hit := [name for name in counts if self._reads(reduction, name)]:
                raise ValueError(
                    f"{reduction.place} runs over the channels of group {few(hit)}: without some of them it gives "
                    "something else than with zeros. Give a plan that leaves that group whole."
                )

    def __repr__(self) -> str:
        how_many = f"plan={self.plan}" if self.ratio is None else f"ratio={self.ratio}"
        network = type(self.graph.model).__name__
        return f"SoftPruning(graph={network}, {how_many}, criterion={self.criterion!r}, every={self.every})"

    def _counts(self) -> dict[str, int]:
        """Return how many channels go of each group of which some do."""
        plan = self.plan
        if plan is None:
            evenly = {name: torch.arange(group.channels).double() for name, group in self.graph.items()}
            plan = Plan.uniform(self.graph, evenly, self.ratio)
        self.graph.check(plan)
        return {name: len(gone) for name, gone in plan.removed.items() if gone}

    def _reads(self, reduction: Reduction, name: str) -> bool:
        where = self.graph.channels_of(name)
        return bool(((reduction.channels >= where.start) & (reduction.channels < where.stop)).any())

    def begin(self, model: nn.Module, task: Task, epochs: int, steps: int) -> RunningExtra:
        """Return the soft pruning of one training.

        Parameters
        ----------
        model, task, epochs, steps
            As of `fpgmlab.recovery.Extra`.

        Raises
        ------
        ValueError
            As the class.
        """
        return _Softly(self, of_network(self.graph, model), self._counts(), epochs)


class _Softly(RunningExtra):
    def __init__(self, options: SoftPruning, graph: ChannelGraph, counts: Mapping[str, int], epochs: int) -> None:
        self._options, self._graph, self._counts, self._epochs = options, graph, counts, epochs
        self._epoch = 0
        self._removed: dict[str, list[int]] = {}

    def leads_elsewhere(self) -> bool:
        return True

    def before_judging(self, model: nn.Module, judged: nn.Module) -> None:
        if self._epoch % self._options.every == 0 or self._epoch + 1 == self._epochs:
            scores = score(self._graph, self._options.criterion, groups=list(self._counts), progress=False)
            self._removed = {n: list(lowest(self._graph[n], scores, count)) for n, count in self._counts.items()}
        self._epoch += 1
        for network in {id(model): model, id(judged): judged}.values():
            cut_off_for_good(of_network(self._graph, network), self._removed)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "removed": self._removed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._epoch, self._removed = state["epoch"], {name: list(gone) for name, gone in state["removed"].items()}


@torch.no_grad()
def cut_off_for_good(graph: ChannelGraph, removed: Mapping[str, list[int]]) -> None:
    """Write zeros where the layers of the graph's model read some channels of its groups."""
    plan = Plan(
        {name: group.channels for name, group in graph.items()}, {n: tuple(gone) for n, gone in removed.items()}
    )
    for name, layer, keep_in in cut_off(graph, plan):
        weight = graph.model.get_parameter(name)
        weight.copy_(masked(name, weight, layer, keep_in))
