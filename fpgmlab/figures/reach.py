"""How far pruning reaches into a network: its MACs by group, what can go, what cannot and why."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fpgmlab.errors import few
from fpgmlab.figures.parts import hatched, legend_above, name_columns, points_across, swatch, text_width
from fpgmlab.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, Style, new_figure

_REASONS = (ORANGE, RED, PURPLE, GREEN)  # the largest ones; all others are grey
# What differs between reasons of one kind: the module in which it was met, remarks in brackets, names of layers.
_SINGLE = ((r" in ('[^']*'|the model itself)$", ""), (r" \([^)]*\)", ""), (r"'[^' ]*\.[^' ]*'", "'…'"))
_COLUMNS = ("group", "protected", "macs_share", "reached")


def reach(frame: pd.DataFrame, *, style: Style | None = None) -> Figure:
    """Show where a network's MACs are: those that a plan can lower, and those that it cannot, by reason.

    Above all of them in one bar, below for each group the layers that make its channels. A layer is within reach when
    it makes or reads a channel that may be removed.

    Parameters
    ----------
    frame : pandas.DataFrame
        From ``graph.frame()``.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a table without the columns group, protected, macs_share and reached.

    Examples
    --------
    >>> figure = fl.figures.reach(graph.frame())
    >>> [axis.get_xlabel() for axis in figure.axes]
    ['share of all MACs, %', 'channel group, in network order']
    """
    missing = [name for name in _COLUMNS if name not in frame]
    if missing:
        raise ValueError(f"the table has no column {few(missing)}: pass graph.frame()")
    parts = _parts(frame)
    beside = 100 * (1 - frame["macs_share"].sum())
    with new_figure(7.0, lambda width, text: 2.9 + 1.8 * text * (len(parts) + 1), style) as figure:
        whole, axis = figure.subplots(2, height_ratios=(1, 8))
        left, low = 0.0, np.zeros(len(frame))
        for _, colour, shares in parts:
            whole.barh(0, shares.sum(), left=left, color=colour, height=0.8)
            axis.bar(np.arange(len(frame)), shares, bottom=low, color=colour, width=0.8)
            left, low = left + shares.sum(), low + shares
        names = [f"{name}: {_percent(shares.sum())}" for name, _, shares in parts]
        handles: list[Artist] = [
            swatch(_fitting(whole, n), colour) for n, (_, colour, _) in zip(names, parts, strict=True)
        ]
        if beside > 0.05:
            handles.append(hatched(f"in layers of no group: {_percent(beside)}"))
            whole.barh(0, beside, left=left, height=0.8, facecolor="0.95", edgecolor="0.6", hatch="////", lw=0)
        whole.set(xlim=(0, 100), yticks=[], xlabel="share of all MACs, %")
        whole.set_ylabel("all", rotation=0, ha="right", va="center")
        whole.spines["left"].set_visible(False)
        name_columns(axis.xaxis, list(frame["group"]), 0.86 * figure.get_figwidth())
        axis.set(xlabel="channel group, in network order", ylabel="% of all MACs")
        axis.margins(x=0.01)
        legend_above(figure, handles)
    return figure


def _parts(frame: pd.DataFrame) -> list[tuple[str, str, np.ndarray]]:
    """Return names, colours and each group's share in percent: of what is within reach, then of what is not."""
    reasons = frame["protected"].fillna("").map(_kind).to_numpy()
    reached = 100 * frame["reached"].to_numpy(float)
    stuck = 100 * frame["macs_share"].to_numpy(float) - reached
    free = reasons == ""
    found = [("within reach", BLUE, reached * free), ("within reach only by what they read", SKY, reached * ~free)]
    totals = {reason: stuck[reasons == reason].sum() for reason in dict.fromkeys(reasons[~free])}
    largest = sorted(totals, key=lambda reason: -totals[reason])
    for reason, colour in zip(largest, _REASONS, strict=False):
        found.append((str(reason), colour, stuck * (reasons == reason)))
    rest = np.isin(reasons, largest[len(_REASONS) :])
    found.append((f"{len(largest) - len(_REASONS)} other reasons", GREY, stuck * rest))
    return [part for part in found if part[2].sum() > 0.05]


def _kind(reason: str) -> str:
    """Return a reason without what tells it from others of its kind."""
    for pattern, instead in _SINGLE:
        reason = re.sub(pattern, instead, reason)
    return reason


def _percent(share: float) -> str:
    return f"{share:.1f} %"


def _fitting(axis: Axes, text: str) -> str:
    """Return a reason with its share, without the reason's end where both are wider than the figure."""
    room, (reason, _, share) = points_across(axis) - 40, text.rpartition(": ")
    while text_width(f"{reason}: {share}") > room:
        reason = reason.rstrip("…")[:-1] + "…"
    return f"{reason}: {share}"
