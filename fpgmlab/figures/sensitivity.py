"""How each group bears pruning: the curves one by one, and all of them as one picture."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fpgmlab.errors import unknown
from fpgmlab.figures.parts import name_rows, rows, shortened
from fpgmlab.figures.style import BLUE, GREY, Style, new_figure, small


def sensitivity_curves(frame: pd.DataFrame, metric: str | None = None, *, style: Style | None = None) -> Figure:
    """Show one small panel for each group: the metric against the ratio, with its interval; in grey the unpruned value.

    Parameters
    ----------
    frame : pandas.DataFrame
        ``curves.frame`` of `fpgmlab.sweep`.
    metric : str, optional
        Which; the first when left out.
    style : mapping, optional
        From `fpgmlab.figures.style`.
    """
    metric, frame = _one_metric(frame, metric)
    groups = list(dict.fromkeys(frame["group"]))

    def height(width: float, text: float) -> float:
        columns = _columns(width, len(groups))
        return -(-len(groups) // columns) * (0.62 * width / columns + 2.2 * text) + 4 * text

    with new_figure(7.0, height, style) as figure:
        width = figure.get_figwidth()
        columns = _columns(width, len(groups))
        lines = -(-len(groups) // columns)
        axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axis in axes.ravel()[len(groups) :]:
            axis.set_axis_off()
        for axis, group in zip(axes.ravel(), groups, strict=False):
            mine = frame[frame["group"] == group].sort_values("ratio")
            axis.axhline(mine["value"].iloc[0], color=GREY, lw=0.7, ls=(0, (3, 2)))
            axis.fill_between(mine["ratio"], mine["low"], mine["high"], color=BLUE, alpha=0.25, lw=0)
            axis.plot(mine["ratio"], mine["value"], color=BLUE, marker="o", markersize=2, lw=1.1)
            axis.set_title(shortened(group, 0.86 * 72 * width / columns), fontsize=small(), pad=2)
        first = axes[0, 0]
        first.set_xlim(0, 1)
        first.xaxis.set_major_locator(MaxNLocator(2))
        first.yaxis.set_major_locator(MaxNLocator(4))
        first.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        if frame["value"].between(0, 1).all():
            first.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        figure.supxlabel("ratio: share of the group's channels removed", fontsize=small() + 1)
        figure.supylabel(metric, fontsize=small() + 1)
    return figure


def sensitivity_map(frame: pd.DataFrame, metric: str | None = None, *, style: Style | None = None) -> Figure:
    """Show all groups as one heat map: how far the metric moves from the unpruned network's, by ratio.

    Parameters
    ----------
    frame, metric, style
        As in `sensitivity_curves`.
    """
    metric, frame = _one_metric(frame, metric)
    groups = list(dict.fromkeys(frame["group"]))
    with new_figure(5.4, rows(len(groups)), style) as figure:
        axis = figure.subplots()
        moves = frame["value"] - frame.groupby("group", sort=False)["value"].transform("first")
        limit = float(moves.abs().max()) or 1.0
        for i, group in enumerate(groups):
            mine = frame[frame["group"] == group].sort_values("ratio")
            ratios = mine["ratio"].to_numpy()
            edges = np.concatenate([[0], (ratios[1:] + ratios[:-1]) / 2, [1]])
            mesh = axis.pcolormesh(
                edges, [i - 0.5, i + 0.5], np.abs(moves[mine.index].to_numpy())[None], cmap="cividis_r", vmin=0,
                vmax=limit, edgecolors="white", linewidth=0.3,
            )  # fmt: skip
        axis.set(xlim=(0, 1), ylim=(len(groups) - 0.5, -0.5))
        axis.set(xlabel="ratio: share of the group's channels removed", ylabel="channel group, in network order")
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.spines[:].set_visible(False)
        name_rows(axis.yaxis, groups)
        bar = figure.colorbar(mesh, ax=axis, label=f"change of {metric}, unsigned", aspect=30, pad=0.02)
        if frame["value"].between(0, 1).all():
            bar.formatter = PercentFormatter(1.0, decimals=0)
        bar.outline.set_visible(False)
    return figure


def _columns(width: float, groups: int) -> int:
    return max(1, min(groups, 6, int(width / 0.98)))


def _one_metric(frame: pd.DataFrame, metric: str | None) -> tuple[str, pd.DataFrame]:
    missing = [n for n in ("group", "ratio", "metric", "value", "low", "high") if n not in frame]
    if missing or frame.empty:
        raise ValueError(f"the frame must have rows, as curves.frame of a sweep; missing columns: {missing or 'none'}")
    metric = frame["metric"].iloc[0] if metric is None else metric
    if metric not in set(frame["metric"]):
        raise ValueError(unknown("metric", metric, dict.fromkeys(frame["metric"])))
    return metric, frame[frame["metric"] == metric].reset_index(drop=True)
