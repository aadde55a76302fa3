"""What is lost over the seconds of recovery: ways beside each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from fpgmlab.errors import few
from fpgmlab.figures.looks import Look, looks
from fpgmlab.figures.parts import legend_above
from fpgmlab.figures.style import GREY, Style, new_figure

COLUMNS = ("way", "seconds", "points")
STRAIGHT = 1.0  # points around zero that are drawn to scale; beyond, the logarithm
TICKS = (2, 1, 0.5, 0, -0.5, -1, -2, -5, -10, -20, -50, -100)
TIMES = (0.01, 0.1, 1, 10, 60, 600, 3600, 36000)


def points_over_seconds(frame: pd.DataFrame, *, panel: str | None = None, style: Style | None = None) -> Figure:
    """Show the points that pruned networks lack to the unpruned one over the seconds of their recovery.

    Each dot is one network, recovered to the end of its schedule: dots of one way and duration are seeds, the line
    goes through their means. The seconds are on a logarithmic scale, and so are the points beyond one; no seconds at
    all stand at the left edge, where the axis says 0.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each network: ``way``, ``seconds`` of recovery (0 for none), ``points`` beside the unpruned network
        (negative: lost). Rows of one way whose ``setting`` is the same (a column that may be left out) are seeds.
    panel : str, optional
        A column by whose values there is one axis each, side by side.
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
    missing = [name for name in (*COLUMNS, *([panel] if panel else [])) if name not in frame]
    if missing or frame.empty:
        raise ValueError(f"the frame must have rows and the columns {few(COLUMNS)}; missing: {missing or 'rows'}")
    found = looks(str(way) for way in frame["way"].unique())
    parts = list(frame.groupby(panel, sort=False)) if panel else [("", frame)]
    with new_figure(5.4 if len(parts) == 1 else 3.6 * len(parts), 3.6 if len(parts) == 1 else 2.55, style) as figure:
        axes = figure.subplots(1, len(parts), sharey=True, squeeze=False).ravel()
        for axis, (name, part) in zip(axes, parts, strict=True):
            _draw(axis, part, found)
            if panel:
                axis.set_title(str(name))
        axes[0].set_ylabel("points beside unpruned")
        legend_above(figure, [look.handle(way) for way, look in found.items()], handlelength=2.4)
    return figure


def _draw(axis: Axes, part: pd.DataFrame, found: dict[str, Look]) -> None:
    spent = part["seconds"][part["seconds"] > 0]
    first = 10 ** np.floor(np.log10(spent.min())) if len(spent) else 1.0
    for way, look in found.items():
        own = part[part["way"] == way]
        if own.empty:
            continue
        seconds = own["seconds"].clip(lower=first * 0.5)  # none: at the left edge
        axis.plot(
            seconds,
            own["points"],
            look.marker,
            color=look.colour,
            markersize=look.size(3.5),
            mew=0,
            alpha=0.75,
            clip_on=False,
        )
        by = own["setting"] if "setting" in own else own["seconds"]
        means = own.assign(seconds=seconds).groupby(by, sort=False)[["seconds", "points"]].mean().sort_values("seconds")
        axis.plot(means["seconds"], means["points"], ls=look.dashes, color=look.colour, lw=1.1)
    axis.axhline(0, color=GREY, lw=0.8, ls=(0, (4, 2)), zorder=1)
    axis.set_axisbelow(True)
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=STRAIGHT, linscale=1.0)
    low, high = min(-STRAIGHT, part["points"].min()), max(0.2, part["points"].max())
    axis.set_ylim(low * 1.35, high + 0.25)
    axis.set_yticks([tick for tick in TICKS if low * 1.35 <= tick <= high + 0.25])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}")))
    last = spent.max() if len(spent) else 1.0
    axis.set_xlim(first * 0.45, last * 1.5)
    none = [first * 0.5] if (part["seconds"] <= 0).any() else []
    axis.set_xticks(none + [tick for tick in TIMES if first * (0.9 if none else 0.45) <= tick <= last * 1.5])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value in none else _time(value)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("time of recovery")
    axis.grid(color="0.93", linewidth=0.6)


def _time(seconds: float) -> str:
    """Return a time in its largest unit, such as ``"10 min"``."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"
