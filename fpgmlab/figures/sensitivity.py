"""Sensitivity: how each channel group alone bears pruning."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter

from fpgmlab.figures.parts import NOT_MEASURABLE, all_shortened, hatch, hatched, legend_above, percents
from fpgmlab.figures.style import BLUE, SLATE, Style, new_figure, small
from fpgmlab.sensitivity.curves.frame import (
    checked_groups,
    is_share,
    one_metric,
)

_MANY = 24  # groups from which on panels are narrower
_LINE = 1.0  # points
_TALLEST = 8.5  # inches: what a page has room for


def sensitivity_curves(
    frame: pd.DataFrame,
    metric: str | None = None,
    *,
    unmeasurable: Collection[str] = (),
    repaired: pd.DataFrame | None = None,
    style: Style | None = None,
) -> Figure:
    """Show one small panel for each group: the metric against the ratio, its interval as a band, the unpruned value.

    All panels have the same axes. Where an interval has no end, as of few batches, its band is as high as the panel: it
    is not known.

    Parameters
    ----------
    frame : pandas.DataFrame
        ``curves.frame`` of `fpgmlab.sweep`.
    metric : str, optional
        Which; the first when left out.
    unmeasurable : collection of str
        ``curves.unmeasurable``: groups whose removal changed no output. They are hatched, and have no curve.
    repaired : pandas.DataFrame, optional
        The frame of a second sweep of the same groups, with ``repair=True``: drawn beside the first, as cut.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    TypeError
        When it is no table, such as the curves themselves.
    ValueError
        For a frame without the columns of a sweep, without rows of ratio 0, or without the metric, and for groups that
        it does not have.

    Examples
    --------
    >>> curves = fl.sensitivity.shipped("resnet20-fashion")
    >>> figure = fl.figures.sensitivity_curves(curves.frame, style=fl.figures.style("cvpr"))
    >>> len(figure.axes), float(figure.get_figwidth())
    (12, 3.25)
    """
    metric, frame = one_metric(frame, metric)
    groups = list(dict.fromkeys(frame["group"]))
    blind = checked_groups(unmeasurable, groups)
    mended = None if repaired is None else one_metric(repaired, metric)[1]

    def height(width: float, text: float) -> float:
        columns = _columns(width, text, len(groups))
        lines, rest = -(-len(groups) // columns), 6 * text
        return rest + lines * min(0.62 * width / columns + 2.2 * text, max((_TALLEST - rest) / lines, 6.5 * text))

    with new_figure(7.0, height, style) as figure:
        width = figure.get_figwidth()
        columns = _columns(width, small() / 72, len(groups))
        axes = figure.subplots(-(-len(groups) // columns), columns, sharex=True, sharey=True, squeeze=False)
        _set_axes(axes[0, 0], frame)
        titles = all_shortened(groups, (72 * width - 6 * small()) / columns - 1.5 * small())
        for axis, group, title in zip(axes.ravel(), groups, titles, strict=False):
            first = BLUE if mended is None else SLATE
            _draw_curve(axis, frame[frame["group"] == group], first, measurable=group not in blind)
            if mended is not None and group not in blind:
                _draw_line(axis, mended[mended["group"] == group], BLUE, "D")
            axis.set_title(title, fontsize=small(), pad=2)
        for axis in axes.ravel()[len(groups) :]:
            axis.set_axis_off()
        for axis in axes[-2:][0, columns - (axes.size - len(groups)) :]:
            axis.tick_params(labelbottom=True)  # the last of its column, where the last row is not full
        figure.supxlabel("ratio: share of the group's channels removed", fontsize=small() + 1)
        figure.supylabel(metric, fontsize=small() + 1)
        handles: list[Artist] = [Line2D([], [], color="0.25", lw=0.7, ls=(0, (3, 2)), label="unpruned network")]
        if _tallest(figure, axes[0, 0], [part for part in (frame, mended) if part is not None]) > 2 * _LINE:
            colour = BLUE if repaired is None else "0.6"
            handles.append(Patch(facecolor=colour, alpha=0.3, lw=0, label=_of_bands(frame, mended)))
        else:
            handles.append(Line2D([], [], ls="none", label="95 % intervals: hardly wider than the lines"))
        if mended is not None:
            looks = {"as cut": (SLATE, "o"), "repaired": (BLUE, "D")}
            handles = [
                Line2D([], [], color=colour, marker=marker, markersize=1.9, lw=_LINE, mew=0, label=name)
                for name, (colour, marker) in looks.items()
            ] + handles
        legend_above(figure, [*handles, hatched()] if blind else handles)
    return figure


def _columns(width: float, text: float, groups: int) -> int:
    """Return how many panels stand side by side; many are narrower, where the text is small enough."""
    narrow = groups > _MANY and text < 8 / 72
    return max(1, min(groups, 8 if narrow else 6, int(width / (0.79 if narrow else 0.98))))


def _draw_curve(axis: Axes, mine: pd.DataFrame, colour: str, measurable: bool) -> None:
    axis.axhline(mine["value"].iloc[0], color="0.25", lw=0.7, ls=(0, (3, 2)), zorder=1.5)
    if not measurable:
        hatch(axis, (0, 0), (1, 1), axis.transAxes)
        axis.text(0.5, 0.4, NOT_MEASURABLE.replace(" ", "\n"), transform=axis.transAxes, ha="center", va="center",
                  fontsize=small(), linespacing=1.0, bbox={"facecolor": "white", "pad": 1, "lw": 0})  # fmt: skip
        return
    _draw_line(axis, mine, colour, "o")


def _of_bands(*frames: pd.DataFrame | None) -> str:
    endless = any(np.isinf(frame[["low", "high"]].to_numpy(float)).any() for frame in frames if frame is not None)
    return "95 % interval" + (", not known where as high as the panel" if endless else "")


def _tallest(figure: Figure, axis: Axes, frames: list[pd.DataFrame]) -> float:
    """Return the height of the tallest band, in points: one that is hardly taller than its line is not seen."""
    figure.draw_without_rendering()  # the panels' height is known only now
    bottom, top = axis.get_ylim()
    heights = [(frame["high"].clip(upper=top) - frame["low"].clip(lower=bottom)).max() for frame in frames]
    return 72 * axis.get_window_extent().height / figure.dpi * max(heights) / (top - bottom)


def _draw_line(axis: Axes, mine: pd.DataFrame, colour: str, marker: str) -> None:
    bottom, top = axis.get_ylim()
    low, high = (mine[end].replace([-np.inf, np.inf], edge) for end, edge in (("low", bottom), ("high", top)))
    axis.fill_between(mine["ratio"], low, high, color=colour, alpha=0.3, lw=0)
    axis.plot(mine["ratio"], mine["value"], color=colour, marker=marker, markersize=1.9, lw=_LINE, mew=0)


def _set_axes(axis: Axes, frame: pd.DataFrame) -> None:
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if is_share(frame):
        axis.set_ylim(0, 1.04)
        axis.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
        axis.yaxis.set_major_formatter(percents())
    else:
        # The values set the scale: the interval of a few samples may have no end.
        low, high = float(frame["value"].min()), float(frame["value"].max())
        room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
        axis.set_ylim(low - room, high + room)
        axis.yaxis.set_major_locator(MaxNLocator(3))
