"""Scores of channels, and where a plan cuts them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from fpgmlab.figures.parts import is_protected, legend_above, mark, name_rows, rows, swatch
from fpgmlab.figures.style import BLUE, GREY, RED, Style, new_figure, small

_GOLDEN = 0.6180339887  # its multiples fall evenly between 0 and 1: places that look random, the same each time
_MANY = 4000  # points from which the PDF holds them as a picture


def score_bars(
    scores: Tensor, removed: Collection[int] = (), label: str = "score", *, style: Style | None = None
) -> Figure:
    """Show the scores of one group in ascending order, the removed channels in red.

    Parameters
    ----------
    scores : Tensor, (channels,)
    removed : collection of int
        Numbers of the removed channels.
    label : str
        What the score is, with its unit if it has one.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For scores that are not (channels,) of at least one channel.
    """
    if scores.ndim != 1 or len(scores) == 0:
        raise ValueError(f"scores must be (channels,) of at least one channel; got {tuple(scores.shape)}")
    values = scores.detach().cpu().double().numpy()
    order = np.argsort(values, kind="stable")
    gone = np.isin(order, list(removed))
    with new_figure(max(3.6, min(7.0, 0.16 * len(order) + 1.2)), 2.2, style) as figure:
        axis = figure.subplots()
        axis.bar(np.arange(len(order)), values[order], color=np.where(gone, RED, BLUE), width=0.8)
        room = 0.8 * figure.get_figwidth() * 72 / len(order)
        if room >= 1.1 * small():
            upright = room >= 0.75 * small() * len(str(len(order) - 1))
            axis.set_xticks(np.arange(len(order)), order, rotation=0 if upright else 90)
            axis.tick_params(axis="x", length=0)
        else:
            axis.set_xticks([])
        axis.set(xlabel="channel, in order of removal", ylabel=label)
        axis.margins(x=0.01)
        if gone.any():
            handles = [swatch(f"removed ({gone.sum()})", RED)]
            legend_above(figure, [*handles, swatch(f"kept ({(~gone).sum()})", BLUE)] if not gone.all() else handles)
    return figure


def scores_by_layer(frame: pd.DataFrame, label: str = "score", *, style: Style | None = None) -> Figure:
    """Show the scores of every group as a row of points, the removed ones in red, with the line of each cut.

    Scores of different groups have different scales, and are divided by their group's mean.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `fpgmlab.criteria.score_table`.
    label : str
        What the score is.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or the columns of `fpgmlab.criteria.score_table`.
    """
    missing = [name for name in ("group", "score", "removed", "protected") if name not in frame]
    if missing or frame.empty:
        raise ValueError(f"the frame must have rows, as from score_table; missing columns: {missing or 'none'}")
    groups = list(dict.fromkeys(frame["group"]))
    means = frame.groupby("group", sort=False)["score"].mean()
    x = (frame["score"] / frame["group"].map(means.where(means != 0, 1.0))).to_numpy()
    row = frame["group"].map({name: i for i, name in enumerate(groups)}).to_numpy()
    y = row + 0.62 * ((_GOLDEN * np.arange(len(frame))) % 1 - 0.5)
    gone, protected = frame["removed"].to_numpy(bool), is_protected(frame["protected"])
    kinds = [
        ("kept", ~gone & ~protected, BLUE, "o"), ("removed", gone, RED, "o"), ("protected", protected, GREY, "o"),
    ]  # fmt: skip
    with new_figure(5.4, rows(len(groups), most=2.4), style) as figure:
        axis = figure.subplots()
        size = float(np.clip(4000 / len(frame), 1.5, 8))
        handles = []
        for name, which, colour, marker in kinds:
            if which.any():
                axis.scatter(x[which], y[which], s=size, color=colour, marker=marker, linewidths=0, alpha=0.75,
                             rasterized=len(frame) > _MANY)  # fmt: skip
                handles.append(mark(f"{name} ({which.sum()})", colour, marker, markersize=4))
        for i in range(len(groups)):
            mine, kept = (row == i) & gone, (row == i) & ~gone
            if mine.any():
                # Between the two where the scores alone decide; in blocks of channels they need not.
                last = x[mine].max()
                cut = (last + x[kept].min()) / 2 if kept.any() and x[kept].min() >= last else last
                axis.plot([cut, cut], [i - 0.44, i + 0.44], color="black", lw=1, solid_capstyle="butt")
        if gone.any():
            handles.append(Line2D([], [], color="black", lw=1, marker="|", linestyle="none", markersize=7, label="cut"))
        legend_above(figure, handles)
        name_rows(axis.yaxis, groups)
        for label_, name in zip(axis.get_yticklabels(), groups, strict=True):
            if protected[frame["group"].to_numpy() == name].all():
                label_.set_color(GREY)
        axis.set(ylim=(len(groups) - 0.4, -0.6), xlabel=f"{label} / mean of its group", ylabel="channel group")
        axis.set_xlim(min(0.0, 1.03 * x.min()), 1.03 * x.max() if x.max() > 0 else 1.0)
        axis.grid(axis="y", color="0.93", lw=0.5)
        axis.set_axisbelow(True)
    return figure
