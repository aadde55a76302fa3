"""The roofline of a machine: what layers reach of what it can compute and of what it can move."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fpgmlab.figures.parts import legend_above, text_places, text_width
from fpgmlab.figures.style import BLUE, GREY, ORANGE, Style, new_figure, small


def roofline(frame: pd.DataFrame, peak: float, bandwidth: float, *, style: Style | None = None) -> Figure:
    """Show layers under the roof of a machine: MACs a second over MACs for each byte that they move.

    A layer cannot be faster than the machine computes, nor than its numbers come and go (Williams, Waterman &
    Patterson, 2009): left of the edge memory decides, right of it arithmetic. What lies far below the roof loses its
    time to something else.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each layer: name, macs, bytes (what it reads, its weights and what it gives) and ms.
    peak : float
        Most MACs a second, measured.
    bandwidth : float
        Most bytes a second, measured.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or these columns, and for numbers that are not above 0.
    """
    missing = [name for name in ("name", "macs", "bytes", "ms") if name not in frame]
    above = not missing and (frame[["macs", "bytes", "ms"]] > 0).all(axis=None) and min(peak, bandwidth) > 0
    if missing or frame.empty or not above:
        raise ValueError(
            f"the frame must have rows, and all numbers be above 0; missing columns: {missing or 'none'}; peak {peak}, "
            f"bandwidth {bandwidth}"
        )
    x, y = (frame["macs"] / frame["bytes"]).to_numpy(), (frame["macs"] / frame["ms"] / 1e6).to_numpy()
    top, edge = peak / 1e9, peak / bandwidth
    low, high = min(x.min(), edge) / 2.2, max(x.max(), edge) * 2.2
    with new_figure(4.8, 3.2, style) as figure:
        axis = figure.subplots()
        axis.plot([low, edge], [low * bandwidth / 1e9, top], color=ORANGE, lw=1.6)
        axis.plot([edge, high], [top, top], color=GREY, lw=1.6)
        axis.plot(x, y, "o", color=BLUE, markersize=5, mew=0, zorder=3)
        axis.set(xscale="log", yscale="log", xlim=(low, high))
        axis.set(ylim=(min(y.min(), top) / 2.5, max(top, y.max()) * 1.9))
        axis.set(xlabel="MACs for each byte that is moved", ylabel="billion MACs a second")
        memory = f"memory: {bandwidth / 1e9:,.0f} GB a second"
        arithmetic = f"arithmetic: {top:,.0f} billion MACs a second"
        legend_above(
            figure, [Line2D([], [], color=c, lw=1.6, label=text) for c, text in ((ORANGE, memory), (GREY, arithmetic))]
        )
        axis.grid(color="0.93", lw=0.5)
        axis.set_axisbelow(True)
        _name_points(
            figure, axis, [str(name) for name in frame["name"]], np.column_stack([x, y]), (low, edge, high, top)
        )
    return figure


def _name_points(
    figure: Figure, axis: Axes, names: list[str], spots: np.ndarray, roof: tuple[float, float, float, float]
) -> None:
    """Write each layer's name beside its point, off the others and off the roof."""
    figure.draw_without_rendering()  # the scale is known only now
    to_points = 72 / figure.dpi
    low, edge, high, top = roof
    sloped = np.geomspace(low, edge, 30)
    line = np.concatenate(
        [np.column_stack([sloped, sloped * top / edge]), [(x, top) for x in np.geomspace(edge, high, 30)]]
    )
    points = axis.transData.transform(np.concatenate([spots, line])) * to_points
    sizes = np.array([(text_width(name), small()) for name in names])
    bounds = axis.get_window_extent().get_points() * to_points + np.array([[3.0], [-3.0]])
    radius = np.concatenate([np.full(len(spots), 3.5), np.full(len(line), 1.0)])
    places = text_places(points, sizes, bounds, radius)
    for name, spot, at, place in zip(names, spots, points, places, strict=False):
        axis.annotate(name, tuple(spot), tuple(place - at), textcoords="offset points", ha="center",
                      va="center_baseline", fontsize=small(), color="0.15", zorder=5)  # fmt: skip
