"""What removing channels of one group degrades, read off its sensitivity curve, and what a plan degrades in sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fpgmlab.errors import strange, unknown
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.given import check_graph
from fpgmlab.plans.plan import Plan
from fpgmlab.sensitivity import Curves

if TYPE_CHECKING:
    import pandas as pd

# The best first: measured on really pruned networks by tests/benchmarks/allocation.py.
PREFERRED = ("agreement", "kl", "accuracy", "loss", "change")
# After repair most answers are what they were, and what tells groups apart are small changes.
REPAIRED = ("loss", "kl", "agreement", "accuracy", "change")
FINER = ("kl", "loss", "change")  # they move where no answer changes


@dataclass(frozen=True, eq=False)
class Degradation:
    """What one group's removal degrades, at the measured points and between.

    Attributes
    ----------
    kept : ndarray
        Measured numbers of channels, descending from all of them.
    measured : ndarray
        By how much the metric is worse than the unpruned network's, (points,); noise may make it negative.
    drop : ndarray
        The same, never falling as channels go and never below 0: the nearest such numbers in least squares.
    """

    kept: np.ndarray
    measured: np.ndarray
    drop: np.ndarray

    def at(self, kept: np.ndarray | int) -> np.ndarray:
        """Return the drop at any number of channels between the measured ones, by straight lines."""
        return np.asarray(np.interp(kept, self.kept[::-1], self.drop[::-1]))


def chosen_metric(curves: Curves, metric: str | None) -> str:
    """Return the metric to go by: the one named, or the best for allocation that the curves have.

    Raises
    ------
    ValueError
        When the curves do not have it, or have no rows at all.
    """
    if not isinstance(curves, Curves):
        raise TypeError(
            f"this goes by curves, as fl.sweep(graph, scores, task) gives; got {type(curves).__name__}. "
            "By scores alone: fl.Plan.uniform(graph, scores, macs=0.5)"
        )
    there = list(curves.base)
    if not there:
        raise ValueError("the curves have no rows: nothing was measured. Let fpgmlab.sweep see at least one batch.")
    if metric is None:
        preferred = REPAIRED if curves.repaired else PREFERRED
        return min(there, key=lambda name: [*preferred, name].index(name))
    if metric not in there:
        raise ValueError(f"the curves do not have it: {unknown('metric', metric, there)}")
    return metric


def finer_metric(curves: Curves, metric: str) -> str | None:
    """Return the metric of the curves that tells apart what ``metric`` does not; None where they have none."""
    return next((name for name in FINER if name in curves.base and name != metric), None)


def degradations(graph: ChannelGraph, curves: Curves, metric: str) -> dict[str, Degradation]:
    """Return the degradation of each group that was swept, in network order.

    A point whose value is no finite number ends its curve: nothing is known from there on.

    Raises
    ------
    ValueError
        When the curves are of another network.
    """
    for name, width in curves.widths.items():
        if name not in graph:
            raise ValueError(f"the curves are of another network: {strange('group', curves.widths, graph)}")
        if width != graph[name].channels:
            raise ValueError(
                f"the curves are of another network: group {name!r} has {graph[name].channels} channels here, "
                f"{width} in the curves"
            )
    frame = curves.frame
    tables = dict(iter(frame[frame["metric"] == metric].groupby("group", sort=False)))
    return {name: _of_table(tables[name], curves.higher_is_better(metric)) for name in graph if name in tables}


def predicted(graph: ChannelGraph, curves: Curves, plan: Plan, metric: str | None = None) -> pd.DataFrame:
    """Predict from the curves what a plan degrades: the sum of what each group's removal alone does.

    Parameters
    ----------
    graph : ChannelGraph
    curves : Curves
        See `fpgmlab.sweep`.
    plan : Plan
        Should remove the channels with the lowest of the scores that the curves were made with.
    metric : str, optional
        One that the curves have; as in `fpgmlab.allocate` when left out.

    Returns
    -------
    pandas.DataFrame
        A row for each group that was swept, in network order: ``group``; ``ratio``, the fraction removed; ``kept``;
        ``predicted``, by how much the metric gets worse (>= 0, in the metric's unit), from the curve made monotone,
        with straight lines between measured points. The column's sum is the prediction for the plan.

    Raises
    ------
    TypeError
        When they are no curves.
    ValueError
        When the plan or the curves are of another network, or the plan removes more than was measured.

    Examples
    --------
    >>> table = fl.allocation.predicted(graph, fl.sensitivity.shipped("resnet20-fashion"), plan)
    >>> list(table.columns), int(table["kept"][0])
    (['group', 'ratio', 'kept', 'predicted'], 10)
    """
    import pandas as pd

    check_graph(graph)
    graph.check(plan)
    known = degradations(graph, curves, chosen_metric(curves, metric))
    for name in plan.removed:
        least = known[name].kept[-1] if name in known else graph[name].channels
        if plan.kept[name] < least:
            raise ValueError(
                f"group {name!r}: the plan keeps {plan.kept[name]} of {graph[name].channels} channels, but the fewest "
                f"that were measured are {least}. Sweep larger ratios."
            )
    rows = [
        (name, plan.ratios.get(name, 0.0), kept, float(curve.at(kept)))
        for name, curve in known.items()
        for kept in (plan.kept.get(name, graph[name].channels),)
    ]
    return pd.DataFrame(rows, columns=["group", "ratio", "kept", "predicted"])


def isotonic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the non-decreasing numbers nearest to some values in weighted least squares.

    By the max-min formula (Barlow et al., *Statistical Inference under Order Restrictions*, 1972, theorem 1.9): at k
    the largest over i <= k of the least over j >= k of the mean of i..j.
    """
    count = len(values)
    sums = np.concatenate([[0], np.cumsum(values * weights)])
    totals = np.concatenate([[0], np.cumsum(weights)])
    first, last = np.arange(count)[:, None], np.arange(count)[None]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (sums[last + 1] - sums[first]) / (totals[last + 1] - totals[first])  # (i, j)
    means[first > last] = np.inf
    least = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]  # (i, k): over j >= k
    least[first > last] = -np.inf
    return least.max(axis=0)


def _of_table(table: pd.DataFrame, higher_is_better: bool) -> Degradation:
    table = table.sort_values("kept", ascending=False)
    values, samples = table["value"].to_numpy(), table["samples"].to_numpy(dtype=float)
    known = int(np.argmin(np.append(np.isfinite(values), False)))
    drop = (values[0] - values if higher_is_better else values - values[0])[:known]
    smooth = np.zeros(known)
    if known > 1:
        smooth[1:] = np.maximum(isotonic(drop[1:], samples[1:known]), 0)
    return Degradation(table["kept"].to_numpy()[:known], drop, smooth)
