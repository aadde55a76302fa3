"""The staircase of a layer: its time over its numbers of channels, and what a channel costs beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fpgmlab.figures.parts import legend_above, mark
from fpgmlab.figures.style import BLUE, GREY, ORANGE, Style, new_figure

COLUMNS = ("side", "channels", "ms", "quick", "top")


def staircase(frame: pd.DataFrame, *, style: Style | None = None) -> Figure:
    """Show a layer's time over its numbers of output and of input channels, with the steps of the runtime.

    The dots are the last counts of their steps: to keep one channel more costs a whole step. Above the broken line of
    the MACs a count is paid for more than it computes.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `fpgmlab.LatencyTable.steps`: side, channels, ms, quick, top.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or these columns.
    """
    missing = [name for name in COLUMNS if name not in frame]
    if missing or frame.empty:
        raise ValueError(f"the frame must have rows and the columns {COLUMNS}; missing: {missing or 'rows'}")
    sides = [(side, part) for side in ("outputs", "inputs") if (part := frame[frame["side"] == side]).shape[0] > 1]
    slow = not bool(frame["quick"].all())
    with new_figure(3.4 * len(sides), 2.7, style) as figure:
        axes = figure.subplots(1, len(sides), sharey=True, squeeze=False).ravel()
        for axis, (side, part) in zip(axes, sides, strict=True):
            _draw(axis, part)
            axis.set_xlabel(f"{side[:-1]} channels")
        axes[0].set(ylabel="milliseconds", ylim=(0, None))
        handles = [
            Line2D([], [], color=BLUE, lw=1.2, label="the quick way"),
            mark("end of a step", BLUE, markersize=3.5),
            Line2D([], [], color=GREY, lw=0.9, ls=(0, (4, 2)), label="as the MACs"),
        ]
        if slow:
            handles.insert(1, Line2D([], [], color=ORANGE, lw=1.0, label="channels that do not fit"))
        legend_above(figure, handles)
    return figure


def _draw(axis: Axes, part: pd.DataFrame) -> None:
    channels, ms = part["channels"].to_numpy(), part["ms"].to_numpy()
    quick, top = part["quick"].to_numpy(bool), part["top"].to_numpy(bool)
    if not quick.all():
        axis.plot(channels[~quick], ms[~quick], color=ORANGE, lw=1.0)
    axis.step(channels[quick], ms[quick], where="pre", color=BLUE, lw=1.2)
    axis.plot(channels[top], ms[top], "o", color=BLUE, markersize=3.5, mew=0)
    axis.plot([0, channels[-1]], [0, ms[-1]], color=GREY, lw=0.9, ls=(0, (4, 2)), zorder=1)
    axis.set_xlim(0, channels[-1] * 1.02)
    step = _round(channels[-1] / 4)
    axis.set_xticks(np.arange(0, channels[-1] + 1, step))


def _round(wish: float) -> int:
    """Return the power of two, at least 1, that is nearest to a number."""
    return int(2 ** max(0, round(np.log2(max(wish, 1)))))
