"""The plans of a class: what each costs and what it is worth, and who is best within a budget."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from fpgmlab.allocation.pareto import pareto_front
from fpgmlab.errors import one_of
from fpgmlab.figures.parts import legend_above, percents
from fpgmlab.figures.style import BLUE, GREEN, ORANGE, Style, new_figure, small

_COSTS = {"ms": "milliseconds of one call", "macs": "MACs, of the unpruned network's"}
_LEAST = 0.04  # of a share: what the upright axis spans at least
_LOOKS = {"as cut": (ORANGE, "v"), "repaired": (BLUE, "o"), "fine-tuned": (GREEN, "s")}


def class_plans(
    frame: pd.DataFrame,
    unpruned: Mapping[str, float],
    *,
    cost: str = "ms",
    share: float = 0.5,
    metric: str = "accuracy",
    higher_is_better: bool = True,
    style: Style | None = None,
) -> Figure:
    """Show the plans of many people: what each costs, what was measured of it, and the best within a budget by name.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each measured network: visitor, network ("as cut", "repaired" or "fine-tuned"), value, and macs (a
        share of the unpruned network's) or ms.
    unpruned : mapping
        The unpruned network's macs, ms and value.
    cost : {"ms", "macs"}
    share : float
        The budget, of the unpruned network's cost.
    metric : str
        What ``value`` is.
    higher_is_better : bool
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For another cost, and for a frame without rows.
    """
    if cost not in _COSTS:
        raise ValueError(one_of("cost", cost, _COSTS))
    if frame.empty:
        raise ValueError("the frame must have a row for each measured network; it has none")
    most, sign = share * unpruned[cost], 1 if higher_is_better else -1
    with new_figure(4.6, 3.2, style) as figure:
        axis = figure.subplots()
        axis.axvspan(0, most, color="0.965", lw=0, zorder=0)
        axis.axvline(most, color="0.55", lw=0.8, zorder=1)
        front = frame[pareto_front(frame[cost].to_numpy(), frame["value"].to_numpy(), higher_is_better)]
        front = front.drop_duplicates([cost, "value"]).sort_values(cost)
        axis.step(front[cost], front["value"], where="post", color="0.6", lw=2.2, alpha=0.6, zorder=2)
        for network, (colour, marker) in _LOOKS.items():
            mine = frame[frame["network"] == network]
            axis.plot(mine[cost], mine["value"], marker, color=colour, markersize=4, mew=0, alpha=0.8, zorder=3)
        axis.plot(unpruned[cost], unpruned["value"], "x", color="0.1", markersize=6, mew=1.3, zorder=4)
        within = frame[frame[cost] <= most * (1 + 1e-9)]
        if len(within):
            best = within.loc[(sign * within["value"]).idxmax()]
            axis.plot(best[cost], best["value"], "o", mfc="none", mec="0.1", markersize=9, mew=1.2, zorder=4)
            # Beside the ring, towards the middle; a name is text, whatever signs of mathematics are in it.
            left = best[cost] > 0.5 * unpruned[cost]
            axis.annotate(
                best["visitor"], (best[cost], best["value"]), (-8 if left else 8, -8), textcoords="offset points",
                ha="right" if left else "left", va="top", fontsize=small(), weight="bold", parse_math=False, zorder=5,
            )  # fmt: skip
        axis.set(xlabel=_COSTS[cost], ylabel=metric, xlim=(0, 1.04 * max(unpruned[cost], frame[cost].max())))
        axis.margins(y=0.1)
        if frame["value"].between(0, 1).all():  # at least four points of it, or single pictures look like hills
            low, high = axis.get_ylim()
            room = max(0.0, _LEAST - (high - low)) / 2
            axis.set_ylim(low - room, high + room)
            axis.yaxis.set_major_formatter(percents())
        if cost == "macs":
            axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.grid(axis="y", color="0.93", lw=0.6)
        axis.set_axisbelow(True)
        handles = [
            Line2D([], [], color=c, marker=m, ls="", markersize=4, mew=0, label=network)
            for network, (c, m) in _LOOKS.items()
            if network in set(frame["network"])
        ]
        handles += [
            Line2D([], [], color="0.6", lw=2.2, alpha=0.6, label="front: none beats these"),
            Line2D([], [], color="0.1", marker="x", ls="", markersize=6, mew=1.3, label="unpruned network"),
        ]
        legend_above(figure, handles)
    return figure
