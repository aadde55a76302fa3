"""The planner: from sensitivity curves to the plan that degrades least within a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fpgmlab.allocation.degradation import Degradation, chosen_metric
from fpgmlab.allocation.givens import givens
from fpgmlab.allocation.noise import noise
from fpgmlab.allocation.problem import problem
from fpgmlab.allocation.search import pool
from fpgmlab.allocation.staircase import Stairs, staircase_pool, without_waste
from fpgmlab.allocation.ties import best_of_equals, told_apart
from fpgmlab.common.warned import warn
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Multiple, Scores, allowed_kept, check_rounding
from fpgmlab.sensitivity import Curves

if TYPE_CHECKING:
    from fpgmlab.deployment.staircases.table import LatencyTable

OPTIONS = 64  # numbers of kept channels that are tried for each group


def allocate(
    graph: ChannelGraph,
    curves: Curves,
    *,
    scores: Scores | None = None,
    macs: float | None = None,
    params: float | None = None,
    bytes: float | None = None,
    latency: float | None = None,
    metric: str | None = None,
    multiple: Multiple = "runtime",
    max_ratio: float = 1.0,
    protect: Sequence[str] = (),
    locked: Mapping[str, int] | None = None,
    table: LatencyTable | None = None,
) -> Plan:
    """Choose how much of each group to remove so that as little as possible is lost within a budget.

    Lost is the sum over the groups of what each one's removal alone does to the metric; see
    `fpgmlab.allocation.predicted`. The cost is exact: that of the pruned network, in which the costs of neighbouring
    groups multiply. Of plans that lose equally much, as where no answer changes, the one is taken that does least to a
    finer metric of the curves: kl, loss or change, the first that they have. Everything is deterministic, a larger
    budget never predicts worse, and the budget is met exactly or just below.

    Parameters
    ----------
    graph : ChannelGraph
    curves : Curves
        See `fpgmlab.sweep`. Nothing is removed beyond the largest ratio that was measured for a group. Groups without
        a curve stay whole, and so do those in ``curves.unmeasurable``: that their removal changed no output of the
        samples seen does not say that it is free.
    scores : mapping of str to Tensor, optional
        (channels,) by group: the lowest go first; those that the curves were made with when left out.
    macs, params, bytes, latency : float
        Exactly one: what may remain, as a fraction of the unpruned network, 0 < budget <= 1.
    metric : {"accuracy", "loss", "agreement", "kl", "change"}, optional
        Which of the curves to go by. When left out, the first that the curves have of agreement, kl, accuracy, loss,
        change; of repaired curves of loss, kl, agreement, accuracy, change.
    multiple : int or "runtime"
        Keep a multiple of so many channels, or all of them. ``"runtime"``: the counts that runtimes do not waste on
        this processor (see `fpgmlab.plans.rounding.unit_of`); with a ``table`` those at the end of a step of its own.
    max_ratio : float
        No group loses more than this fraction.
    protect : sequence of str
        Names of groups, layers or modules that stay whole.
    locked : mapping of str to int, optional
        How many channels groups keep whatever the budget: the others are chosen around them.
    table : LatencyTable, optional
        For a ``latency`` budget; see `fpgmlab.latency_table`.

    Returns
    -------
    Plan

    Raises
    ------
    TypeError
        For what is no graph or no curves.
    ValueError
        When not exactly one budget is given, for one out of range, and for one that cannot be reached, with the
        smallest that can; for curves or a table of another network, without rows or without the metric.

    Warns
    -----
    UserWarning
        When the curves cannot be told from noise: no measured point has its change outside its interval. When the table
        is of another machine, or off by more than a fifth for the networks that it was fitted to.

    Notes
    -----
    Of networks as cut a sum of single drops says which plan is better, not how good it is: what is lost together is far
    more than the sum (see `fpgmlab.additivity`). By curves of repaired points (see `fpgmlab.sweep`) it is also about
    what `fpgmlab.repair` leaves lost, and plans by these are better once they are repaired. The order of the metrics is
    that of the accuracy of networks as cut: shares of changed answers and of lost ones predict best; powers of them and
    sums with the others did not help on the whole. Where a network has come down to chance level no metric tells plans
    apart. The numbers are in ``data/results/allocation.json``.

    Examples
    --------
    >>> curves = fl.sensitivity.shipped("resnet20-fashion")
    >>> plan = fl.allocate(graph, curves, macs=0.5)
    >>> graph.cost(plan).macs <= 0.5 * graph.cost().macs
    True
    """
    plan = allocated(
        graph, curves, scores=scores, macs=macs, params=params, bytes=bytes, latency=latency, metric=metric,
        multiple=multiple, max_ratio=max_ratio, protect=protect, locked=locked, table=table,
    )  # fmt: skip
    if words := noise(curves, chosen_metric(curves, metric)):
        warn(words)
    return plan


def allocated(
    graph: ChannelGraph,
    curves: Curves,
    *,
    scores: Scores | None,
    macs: float | None,
    params: float | None,
    bytes: float | None,
    latency: float | None,
    multiple: Multiple,
    max_ratio: float,
    locked: Mapping[str, int] | None,
    table: LatencyTable | None,
    metric: str | None = None,
    protect: Sequence[str] = (),
) -> Plan:
    """Return the plan of `allocate` without its warning, for where the curves' intervals are shown beside it."""
    kind, budget = _budget({"macs": macs, "params": params, "bytes": bytes, "latency": latency})
    if kind != "latency":
        table = None
    elif table is None:
        raise ValueError("latency= needs table=: measure one with fpgmlab.latency_table(graph)")
    else:
        table.warn_of_doubts()
    check_rounding(multiple, max_ratio)
    given = givens(graph, curves, metric, scores, protect, locked)
    # A table knows its own steps: all counts that stay on the quick way, and of these the ends of its steps.
    own = table is not None and multiple == "runtime"
    step = table.alignment if own and table is not None else multiple
    options = {
        name: _options(graph[name], curve, step, max_ratio, None if own else OPTIONS)
        for name, curve in given.free.items()
    }
    options = {name: each for name, each in options.items() if len(each[0]) > 1}
    options |= {name: (np.array([kept]), np.zeros(1)) for name, kept in given.locked.items()}
    if table is None:
        choosing = problem(graph, given.scores, options, graph.costs.form(kind))
        apart = told_apart(choosing, given.finer)
        choices = pool(choosing) if apart is None else np.concatenate([pool(choosing), pool(apart[1])])
        whole = getattr(graph.cost(), kind)
        costs = np.rint(choosing.costs(choices) * whole)
    else:
        form, whole = table.form(graph), 1.0
        choosing = problem(graph, given.scores, options, form)
        ends = without_waste(choosing, Stairs(choosing, graph, table))
        options = {name: (kept[ends[g]], harm[ends[g]]) for g, (name, (kept, harm)) in enumerate(options.items())}
        choosing = problem(graph, given.scores, options, form)
        # What is good by MACs is not to be missed: in many networks it nearly is by milliseconds.
        by_macs = pool(problem(graph, given.scores, options, graph.costs.form("macs")))
        stairs = Stairs(choosing, graph, table)
        apart = told_apart(choosing, given.finer)
        led = [pool(choosing), by_macs] + ([] if apart is None else [pool(apart[1])])
        choices = staircase_pool(choosing, stairs, np.concatenate(led))
        costs = stairs.costs(choices)
    finer = np.zeros(len(choices)) if apart is None else apart[0].predicted(choices)
    fits = best_of_equals(costs, choosing.predicted(choices), finer, budget * whole)
    if not len(fits):
        least = math.ceil(costs.min() / whole * 1e4) / 1e4
        raise ValueError(
            f"{kind}={budget} cannot be reached: at least {least:.4f} of the {kind} remain with multiple={multiple}, "
            f"max_ratio={max_ratio}, {len(graph) - len(options)} of {len(graph)} groups whole (protected, or not "
            f"measured), {len(given.locked)} locked, and nothing removed beyond the largest ratio measured"
        )
    return choosing.plan(graph, given.scores, choices[fits[0]])


def _budget(options: dict[str, float | None]) -> tuple[str, float]:
    given = {name: value for name, value in options.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"give exactly one budget of {', '.join(options)}; got {given or 'none'}")
    ((kind, value),) = given.items()
    if not 0 < value <= 1:
        raise ValueError(f"{kind} must be the fraction that may remain, 0 < {kind} <= 1; got {value}")
    return kind, value


def _options(
    group: ChannelGroup, curve: Degradation, multiple: Multiple, max_ratio: float, most: int | None = OPTIONS
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a group may keep, descending from all, and what each option degrades."""
    least = max(int(curve.kept[-1]), math.ceil((1 - max_ratio) * group.channels - 1e-9))
    kept = np.array([k for k in allowed_kept(group, multiple) if k >= least])[::-1]
    if most is not None:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, min(len(kept), most)).round().astype(int))]
    return kept, curve.at(kept)
