"""What every way to choose a plan by curves starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fpgmlab.allocation.degradation import Degradation, chosen_metric, degradations, finer_metric
from fpgmlab.allocation.locking import check_locked
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.given import check_graph
from fpgmlab.plans.rounding import Scores, check_names
from fpgmlab.sensitivity import Curves


@dataclass(frozen=True)
class Givens:
    """What there is to choose from.

    Attributes
    ----------
    free : dict of str to Degradation
        The groups that may be pruned: measured, not protected, not locked, and not without any measurable effect.
    scores : mapping of str to Tensor
        The channels with the lowest go first.
    locked : dict of str to int
        How many channels groups keep whatever the budget.
    finer : dict of str to Degradation
        The same groups by a metric that tells apart what the first does not; empty where the curves have none.
    """

    free: dict[str, Degradation]
    scores: Scores
    locked: dict[str, int]
    finer: dict[str, Degradation]


def givens(
    graph: ChannelGraph,
    curves: Curves,
    metric: str | None,
    scores: Scores | None,
    protect: str | Sequence[str],
    locked: Mapping[str, int] | None,
) -> Givens:
    """Return what there is to choose from; the parameters are those of `fpgmlab.allocate`.

    Raises
    ------
    ValueError
        For unknown groups and numbers that a locked one cannot keep, for curves of another network, without rows or
        without the metric, and when there are no scores.
    """
    check_graph(graph)
    locked = check_locked(graph, locked)
    metric = chosen_metric(curves, metric)
    barred = {*check_names(graph, protect), *locked, *curves.unmeasurable}
    finer = finer_metric(curves, metric)
    free = {n: curve for n, curve in degradations(graph, curves, metric).items() if n not in barred}
    free = {n: curve for n, curve in free.items() if graph[n].protected is None}
    more = {} if finer is None else {n: c for n, c in degradations(graph, curves, finer).items() if n in free}
    scores = curves.scores if scores is None else scores
    if not scores:
        raise ValueError("the curves do not hold the scores they were made with: give scores=")
    return Givens(free, scores, locked, more)
