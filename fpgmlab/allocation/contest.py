"""Criteria held against each other: pruned at the same budgets, repaired with the same draws, on the same pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from torch import Tensor, nn

from fpgmlab.common.bars import progress_bar
from fpgmlab.criteria.rules import Criterion
from fpgmlab.criteria.scoring import score
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Multiple
from fpgmlab.recovery import repair
from fpgmlab.sensitivity.curves.draws import over_draws
from fpgmlab.sensitivity.curves.metrics import Record
from fpgmlab.sensitivity.pictures import Pictures, Tally
from fpgmlab.surgery.pruning import prune
from fpgmlab.tasks.task import Task, check_network

Difference = tuple[float, float, float]  # and the ends of its 95 % interval


@dataclass(eq=False)
class Contestant:
    """What was measured of a criterion at a budget, draw by draw.

    Attributes
    ----------
    macs : list of float
        The fraction that remains.
    as_cut, repaired : list of float
        The metric of the pruned network, and of the repaired one.
    notes : list
        What the metric noted of the repaired network, part by part of the pictures.
    """

    macs: list[float] = field(default_factory=list)
    as_cut: list[float] = field(default_factory=list)
    repaired: list[float] = field(default_factory=list)
    notes: list[list[Record]] = field(default_factory=list)


class Contest:
    """Prunes, repairs and measures networks of one graph on one task.

    Parameters
    ----------
    graph, task, samples, max_samples, multiple, reduce
        As for `fpgmlab.compare_criteria`.
    metric : str
        One that the task can give.

    Attributes
    ----------
    unpruned : float
        The unpruned network's metric; known after `held`, as what follows.
    pictures : int
        That were measured on.
    share : bool
        Whether the metric is a fraction, from 0 to 1.
    """

    def __init__(
        self, graph: ChannelGraph, task: Task, metric: str, samples: int | None, max_samples: int | None,
        multiple: Multiple, reduce: str | None,
    ) -> None:  # fmt: skip
        self._graph, self._task, self.metric = graph, task, metric
        self._samples, self._multiple, self._reduce = samples, multiple, reduce
        self._looked_at = Pictures(graph.model, task, [metric], max_samples=max_samples)
        check_network(task, graph.model, self._looked_at.known[metric].labels)
        self.share = self._looked_at.known[metric].share
        self._whole: list[Record] = []
        self._parts: list[int] = []
        self.unpruned, self.pictures = math.nan, 0

    def held(
        self, criteria: Mapping[str, str | Criterion], budgets: Sequence[float], draws: Sequence[int], progress: bool
    ) -> dict[tuple[float, str], Contestant]:
        """Return what each criterion is worth at each budget, by budget and label.

        A criterion's name is resolved anew for each draw: what is random has its seed.
        """
        found = {(macs, label): Contestant() for macs in budgets for label in criteria}
        cuts: dict[str, float] = {}  # most criteria cut alike in all draws
        with progress_bar(total=len(found) * len(draws), progress=progress, unit="network") as bar:
            scores: dict[str, dict[str, Tensor]] = {}
            for seed in draws:
                for label, criterion in criteria.items():
                    if label not in scores or isinstance(criterion, str):
                        scores[label] = score(self._graph, criterion, reduce=self._reduce, seed=seed, progress=False)
                for (macs, label), one in found.items():
                    bar.set_description(f"{label} at {macs:.0%}")
                    plan = Plan.uniform(self._graph, scores[label], macs=macs, multiple=self._multiple)
                    key = plan.to_json()
                    if key not in cuts:
                        cuts[key] = self._read(prune(self._graph, plan))[0]
                    mended = repair(self._graph, plan, self._task, samples=self._samples, seed=seed, progress=False)
                    value, notes = self._read(mended)
                    one.macs.append(self._graph.cost(plan).macs / self._graph.cost().macs)
                    one.as_cut.append(cuts[key])
                    one.repaired.append(value)
                    one.notes.append(notes)
                    bar.update()
        return found

    def beside(self, ours: Contestant, theirs: Contestant | None = None) -> Difference:
        """Return by how much the metric of one is above another's, or the unpruned network's, with its interval."""
        others = [self._whole] * len(ours.notes) if theirs is None else theirs.notes
        return over_draws(self._looked_at.known[self.metric], ours.notes, others, self._parts)

    def _read(self, model: nn.Module) -> tuple[float, list[Record]]:
        """Return a network's metric, and what it noted of each part of the pictures."""
        tally = Tally()
        for number in count():
            part = self._looked_at.part(number)
            if part is None:
                break
            tally = tally.plus(self._looked_at.read(model, part), part.samples)
            if number == len(self._whole):
                self._whole.append(part.whole[self.metric])
                self._parts.append(part.samples)
        estimate = self._looked_at.estimates(tally)[self.metric]
        self.unpruned, self.pictures = estimate.reference, estimate.samples
        return estimate.value, [records[self.metric] for records in tally.records]
