"""What the curves expect of a metric under a plan, with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fpgmlab.allocation.degradation import chosen_metric, degradations
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.sensitivity import Curves


@dataclass(frozen=True)
class Forecast:
    """A metric's expected value under a plan.

    Attributes
    ----------
    value : float
        The unpruned network's, less the sum of what each group's removal alone degrades; see `predicted`. Of the
        repaired network when the curves are of repaired points.
    half : float
        Half the width of its 95 % interval, the groups' errors taken as independent; infinite where that of a pruned
        group is not known, as of few batches.
    unknown : tuple of str
        Pruned groups of which too little was measured: their share is missing, or only a lower bound.
    """

    value: float
    half: float
    unknown: tuple[str, ...]


def forecast(graph: ChannelGraph, curves: Curves, plan: Plan, metric: str | None = None) -> Forecast:
    """Return what a metric is expected to be under a plan, also where it goes beyond what was measured.

    Parameters
    ----------
    graph : ChannelGraph
    curves : Curves
        May lack groups.
    plan : Plan
    metric : str, optional
        One that the curves have; as in `fpgmlab.allocate` when left out.

    Raises
    ------
    ValueError
        When the plan or the curves are of another network.
    """
    graph.check(plan)
    metric = chosen_metric(curves, metric)
    known = degradations(graph, curves, metric)
    frame = curves.frame
    tables = dict(iter(frame[frame["metric"] == metric].groupby("group", sort=False)))
    drop, spread, unknown = 0.0, 0.0, []
    for name in (name for name in graph if plan.removed.get(name)):
        kept = plan.kept[name]
        if name not in known or len(known[name].kept) < 2 or name in curves.unmeasurable:
            unknown.append(name)
            continue
        curve = known[name]
        if kept < curve.kept[-1]:
            unknown.append(name)
        points = tables[name].sort_values("kept", ascending=False).iloc[: len(curve.kept)]
        sides = points["high"] - points["value"], points["value"] - points["low"]
        halves = np.maximum(*sides).to_numpy(float)  # a share's interval ends at 0 and 1
        drop += float(curve.at(kept))
        spread += _between(kept, curve.kept[::-1], halves[::-1]) ** 2
    value = curves.base[metric] + (-drop if curves.higher_is_better(metric) else drop)
    if curves.is_share(metric):
        value = min(1.0, max(0.0, value))
    return Forecast(value, math.sqrt(spread), tuple(unknown))


def _between(x: int, xs: np.ndarray, values: np.ndarray) -> float:
    """Return the value at x by lines through points, x ascending; infinite where one of its neighbours is."""
    after = min(int(np.searchsorted(xs, x)), len(xs) - 1)
    first = after if xs[after] == x else max(after - 1, 0)
    return float(np.interp(x, xs, values)) if np.isfinite(values[first : after + 1]).all() else math.inf
