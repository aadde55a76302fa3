"""Measures networks of plans, part by part of the validation pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from fpgmlab.deployment import LatencyTable
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.sensitivity.curves.metrics import METRICS
from fpgmlab.sensitivity.pictures import Estimate, Pictures, Tally
from fpgmlab.tasks.task import Task, own_metrics
from fpgmlab.widgets.desk.live.memory import STAGES, Entry
from fpgmlab.widgets.desk.live.networks import Networks, checked
from fpgmlab.widgets.desk.live.timing import timed
from fpgmlab.widgets.desk.payload import Json


@dataclass(frozen=True, eq=False)
class Measured:
    """What a network gave on one more part of the pictures.

    Attributes
    ----------
    tally : Tally
        Of all parts so far.
    total : int
        How many pictures there are.
    found : dict of str to Estimate, or None
        By metric; None where they take long to compute and come again soon.
    seconds : float
        That this part has taken, without making the network.
    """

    tally: Tally
    total: int
    found: Mapping[str, Estimate] | None
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether these were all pictures."""
        return self.tally.seen >= self.total


class Measurer:
    """The networks of plans of one graph, on a task's pictures.

    Parameters
    ----------
    graph : ChannelGraph
        Is copied when the first is measured.
    task : task
    metrics : sequence of str
        The task's own comes with them, where it has labels.
    repair_samples : int, optional
        Training pictures that networks are repaired with; see `fpgmlab.repair`.
    """

    def __init__(
        self, graph: ChannelGraph, task: Task, metrics: Sequence[str], repair_samples: int | None = None
    ) -> None:
        self.repair_samples = repair_samples
        self._networks = Networks(graph, task, repair_samples)
        self._own = [task.metric_name] if task.metric_name in {*METRICS, *own_metrics(task)} - {*metrics} else []
        self._pictures = Pictures(self._networks.graph.model, task, metrics, self._own)

    @property
    def total(self) -> int:
        """How many pictures there are."""
        return self._pictures.total

    @property
    def own(self) -> Json | None:
        """The task's own metric, where it comes with those of the curves: ``name``, and whether it is a ``share``."""
        found = [name for name in self._own if name in self._pictures.known]
        return {"name": found[0], "share": self._pictures.known[found[0]].share} if found else None

    def stale(self) -> bool:
        """Tell whether the network has other weights than those that are measured."""
        return self._networks.stale()

    def warm(self, check: Callable[[], None]) -> None:
        """Do what all repairs have in common."""
        self._networks.warm(check)

    @torch.no_grad()
    def more(
        self, network: str, plan: Plan, digest: str, tally: Tally, check: Callable[[], None],
        on_layer: Callable[[int, int], None],
    ) -> Measured:  # fmt: skip
        """Measure a network on the next part.

        Parameters
        ----------
        network : {"as cut", "repaired"}
        plan : Plan
        digest : str
            Of the plan.
        tally : Tally
            Of the parts before.
        check : callable
            Called often; what it raises ends the work.
        on_layer : callable
            Told of a repair's layers: how many are done, and of how many.
        """
        pictures, model = self._pictures, None
        if network == "repaired":
            model = self._networks.repaired(plan, digest, check, on_layer)
        elif any(plan.removed.values()):
            model = self._networks.as_cut(plan, digest)
        started = time.monotonic()
        part = pictures.part(len(tally.samples), check)
        if part is None:
            raise ValueError(f"only {tally.seen} of {pictures.total} validation pictures could be read")
        if model is None:
            records = part.whole
        else:
            with checked(model, check):
                records = pictures.read(model, part)
        tally = tally.plus(records, part.samples)
        complete = tally.seen >= pictures.total
        now = complete or pictures.quick or len(tally.samples).bit_count() == 1
        found = pictures.estimates(tally) if now else None
        return Measured(tally, pictures.total, found, time.monotonic() - started)

    def timed(self, plan: Plan, digest: str, table: LatencyTable) -> Json | None:
        """Return how long the pruned network takes; see `timing`."""
        graph = self._networks.graph
        model = self._networks.as_cut(plan, digest) if any(plan.removed.values()) else graph.model
        return timed(model, graph.example_input, table)

    def difference(self, a: Tally, b: Tally) -> Mapping[str, Estimate]:
        """Return the metrics of b, compared with a on the pictures that both have seen."""
        return self._pictures.estimates(b, a)


_ready: list[tuple[ChannelGraph, Task, Sequence[str], Measurer]] = []


def make_ready(graph: ChannelGraph, task: Task, metrics: Sequence[str], measurer: Measurer) -> None:
    """Have the next desk of these, in this process or in one that is forked from it, use a measurer that knows much."""
    _ready.append((graph, task, list(metrics), measurer))


def measurer_of(graph: ChannelGraph, task: Task, metrics: Sequence[str], repair_samples: int | None = None) -> Measurer:
    """Return the measurer that was made ready for these, once, else a new one."""
    for i, (its_graph, its_task, its_metrics, measurer) in enumerate(_ready):
        alike = its_metrics == list(metrics) and measurer.repair_samples == repair_samples
        if its_graph is graph and its_task is task and alike and not measurer.stale():
            del _ready[i]
            return measurer
    return Measurer(graph, task, metrics, repair_samples)


def differences(measurer: Measurer, first: Entry, second: Entry) -> list[Json]:
    """Return how the networks of two plans differ, as far as both are measured.

    Returns
    -------
    list of dict
        network ("as cut", "repaired"), metric, a, b, difference (b - a), samples; low and high, the ends of the 95 %
        interval of the difference on the same pictures.
    """
    rows: list[Json] = []
    for network in STAGES:
        if network not in first.stages and network not in second.stages:
            continue
        # The unpruned network is its own repair.
        ours, theirs = (each.stages.get(network, each.stages["as cut"]).tally for each in (first, second))
        if ours is None or theirs is None:
            continue
        for metric, found in measurer.difference(ours, theirs).items():
            rows.append({
                "network": network, "metric": metric, "a": found.reference, "b": found.value,
                "difference": found.value - found.reference, "low": found.low - found.reference,
                "high": found.high - found.reference, "samples": found.samples,
            })  # fmt: skip
    return rows
