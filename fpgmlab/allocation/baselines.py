"""What allocation is held against, beside `fpgmlab.Plan.uniform` and `fpgmlab.Plan.global_threshold`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fpgmlab.allocation.degradation import Degradation
from fpgmlab.allocation.givens import givens
from fpgmlab.allocation.locking import with_locked
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.budgets import asked_ratio
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Multiple, Scores, check_rounding
from fpgmlab.sensitivity import Curves


def equal_loss(
    graph: ChannelGraph,
    curves: Curves,
    *,
    scores: Scores | None = None,
    macs: float | None = None,
    params: float | None = None,
    bytes: float | None = None,
    metric: str | None = None,
    multiple: Multiple = "runtime",
    max_ratio: float = 1.0,
    protect: Sequence[str] = (),
    locked: Mapping[str, int] | None = None,
) -> Plan:
    """Let every group lose the same: each is pruned to the largest ratio whose own drop is below one threshold.

    The threshold is found by bisection. That is how PaddleSlim's sensitivity pruner chooses its ratios; what a
    group's channels cost does not enter. The curves are taken as measured, with straight lines between the points.

    Parameters
    ----------
    graph, curves, scores, macs, params, bytes, multiple, max_ratio, protect, locked
        As in `fpgmlab.allocate`; the same groups stay whole.
    metric : str, optional
        Whose drop is meant; accuracy when left out, or where the curves have none what `fpgmlab.allocate` goes by.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        As `fpgmlab.allocate`.

    Examples
    --------
    >>> curves = fl.sensitivity.shipped("resnet20-fashion")
    >>> plan = fl.allocation.equal_loss(graph, curves, params=0.5)
    >>> graph.cost(plan).params <= 0.5 * graph.cost().params
    True
    """
    check_rounding(multiple, max_ratio)
    if metric is None and "accuracy" in curves.base:
        metric = "accuracy"
    given = givens(graph, curves, metric, scores, protect, locked)
    top = max((float(curve.measured.max()) for curve in given.free.values()), default=0.0)

    def plan(share: float) -> Plan:  # twice: a share below one must reach the top too, where curves at chance are flat
        ratios = {name: ratio_at(curve, 2 * share * top) for name, curve in given.free.items()}
        free_plan = Plan.from_ratios(graph, given.scores, ratios, multiple=multiple, max_ratio=max_ratio)
        return with_locked(graph, given.scores, free_plan, given.locked)

    return plan(asked_ratio(graph, plan, {"macs": macs, "params": params, "bytes": bytes}))


def ratio_at(curve: Degradation, threshold: float) -> float:
    """Return the largest ratio at which a curve, by straight lines between its points, is at most a threshold >= 0."""
    ratios = 1 - curve.kept / curve.kept[0]
    last = int((curve.measured <= threshold).nonzero()[0][-1])  # the unpruned network always is
    if last == len(ratios) - 1:
        return float(ratios[-1])
    low, high = curve.measured[last : last + 2]
    return float(ratios[last] + (ratios[last + 1] - ratios[last]) * (threshold - low) / (high - low))
