"""Sensitivity: how each channel group alone bears pruning."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter

from fpgmlab.figures.parts import NOT_MEASURABLE, hatch, hatched, legend_above, name_rows, rows, shortened
from fpgmlab.figures.style import BLUE, SLATE, Style, new_figure, small
from fpgmlab.sensitivity.curves.frame import (
    checked_groups,
    is_higher_better,
    is_share,
    one_metric,
    worse_word,
    worsening,
)

_MANY = 24  # groups from which on panels are narrower
_TALLEST = 8.5  # inches: what a page has room for
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


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
        for axis, group in zip(axes.ravel(), groups, strict=False):
            first = BLUE if mended is None else SLATE
            _draw_curve(axis, frame[frame["group"] == group], first, measurable=group not in blind)
            if mended is not None and group not in blind:
                _draw_line(axis, mended[mended["group"] == group], BLUE, "D")
            axis.set_title(
                shortened(group, (72 * width - 6 * small()) / columns - 2 * small()), fontsize=small(), pad=2
            )
        for axis in axes.ravel()[len(groups) :]:
            axis.set_axis_off()
        for axis in axes[-2:][0, columns - (axes.size - len(groups)) :]:
            axis.tick_params(labelbottom=True)  # the last of its column, where the last row is not full
        figure.supxlabel("ratio: share of the group's channels removed", fontsize=small() + 1)
        figure.supylabel(metric, fontsize=small() + 1)
        handles = [
            Line2D([], [], color="0.25", lw=0.7, ls=(0, (3, 2)), label="unpruned network"),
            Patch(facecolor=BLUE if repaired is None else "0.6", alpha=0.3, lw=0, label=_of_bands(frame, mended)),
        ]
        if mended is not None:
            looks = {"as cut": (SLATE, "o"), "repaired": (BLUE, "D")}
            handles = [
                Line2D([], [], color=colour, marker=marker, markersize=1.9, lw=1.0, mew=0, label=name)
                for name, (colour, marker) in looks.items()
            ] + handles
        legend_above(figure, [*handles, hatched()] if blind else handles)
    return figure


def sensitivity_map(
    frame: pd.DataFrame,
    metric: str | None = None,
    *,
    unmeasurable: Collection[str] = (),
    higher_is_better: bool | None = None,
    style: Style | None = None,
) -> Figure:
    """Show all groups as one heat map: how much worse the metric is than the unpruned network's, by ratio.

    Each cell reaches half-way to the group's next ratios, the last one no further than its own; what lies beyond was
    not measured and is hatched. The colour goes with the square root, so that small drops are seen. A dot: the 95 %
    interval holds the unpruned network's value, so the cell may be no drop at all.

    Parameters
    ----------
    frame, metric, unmeasurable, style
        As in `sensitivity_curves`.
    higher_is_better : bool, optional
        Of a metric of which the frame does not know it.

    Returns
    -------
    Figure

    Raises
    ------
    TypeError
        As `sensitivity_curves`.
    ValueError
        As `sensitivity_curves`; when it is not known of the metric which values are better.
    """
    metric, frame = one_metric(frame, metric)
    groups = list(dict.fromkeys(frame["group"]))
    blind = checked_groups(unmeasurable, groups)
    higher_is_better = is_higher_better(frame, metric, higher_is_better)
    worse = worsening(frame, higher_is_better)
    seen = ~frame["group"].isin(blind)
    limit = max(float(worse["value"][seen].max()), 0.0) if seen.any() else 0.0
    top = limit or 1.0
    norm = PowerNorm(0.5, vmin=0, vmax=top)
    with new_figure(5.4, rows(len(groups), room=1.0), style) as figure:
        axis = figure.subplots()
        dots, beyond = [], False
        for i, group in enumerate(groups):
            mine = worse[frame["group"] == group]
            if group in blind:
                hatch(axis, (0, i - 0.5), (1, 1))
                continue
            ratios = frame["ratio"][mine.index].to_numpy()
            edges = np.concatenate([[0], (ratios[1:] + ratios[:-1]) / 2, ratios[-1:]])
            if ratios[-1] < 1:
                hatch(axis, (ratios[-1], i - 0.5), (1 - ratios[-1], 1))
                beyond = True
            axis.pcolormesh(
                edges, [i - 0.5, i + 0.5], mine["value"].clip(lower=0).to_numpy()[None], cmap="Blues", norm=norm,
                edgecolors="white", linewidth=0.3,
            )  # fmt: skip
            unsure = (ratios > 0) & (mine["low"] <= 0).to_numpy() & (mine["high"] >= 0).to_numpy()
            dots += [(x, i) for x in ((edges[1:] + edges[:-1]) / 2)[unsure]]
        axis.plot(*np.array(dots).reshape(-1, 2).T, ls="none", marker="o", markersize=1.8, color="0.35", mew=0)
        axis.set(xlim=(0, 1), ylim=(len(groups) - 0.5, -0.5))
        axis.set(xlabel="ratio: share of the group's channels removed", ylabel="channel group, in network order")
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.spines[:].set_visible(False)
        name_rows(axis.yaxis, groups)
        _draw_scale(figure, axis, norm, top, worse_word(metric, higher_is_better), is_share(frame))
        handles = [Line2D([], [], ls="none", marker="o", markersize=1.8, color="0.35", mew=0, label="may be no change")]
        words = [word for word, is_there in (("not measured", beyond), (NOT_MEASURABLE, blind)) if is_there]
        legend_above(figure, [*handles, hatched(" or ".join(words))] if words else handles)
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


def _draw_line(axis: Axes, mine: pd.DataFrame, colour: str, marker: str) -> None:
    bottom, top = axis.get_ylim()
    low, high = (mine[end].replace([-np.inf, np.inf], edge) for end, edge in (("low", bottom), ("high", top)))
    axis.fill_between(mine["ratio"], low, high, color=colour, alpha=0.3, lw=0)
    axis.plot(mine["ratio"], mine["value"], color=colour, marker=marker, markersize=1.9, lw=1.0, mew=0)


def _set_axes(axis: Axes, frame: pd.DataFrame) -> None:
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if is_share(frame):
        axis.set_ylim(0, 1.04)
        axis.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    else:
        # The values set the scale: the interval of a few samples may have no end.
        low, high = float(frame["value"].min()), float(frame["value"].max())
        room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
        axis.set_ylim(low - room, high + room)
        axis.yaxis.set_major_locator(MaxNLocator(3))


def _draw_scale(figure: Figure, axis: Axes, norm: PowerNorm, top: float, label: str, share: bool) -> None:
    bar = figure.colorbar(ScalarMappable(norm, "Blues"), ax=axis, label=label, aspect=30, pad=0.02)
    inside = [tick for tick in _TICKS if 0.004 * top <= tick <= top]
    bar.set_ticks([0, *inside[-5:]] if len(inside) >= 3 else MaxNLocator(4).tick_values(0, top))
    bar.ax.set_ylim(0, top)
    if share:
        bar.formatter = PercentFormatter(1.0, decimals=0 if top >= 0.04 else 1)
    bar.outline.set_visible(False)
