"""Repair: how the others take over, where the error goes, what it takes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from fpgmlab.errors import one_of, unknown
from fpgmlab.figures.parts import all_shortened, hatch, hatched, legend_above, mark, name_rows, rows, text_width
from fpgmlab.figures.style import BLUE, CYCLE, GREY, LIGHT, ORANGE, Style, new_figure, small

LINES = ("fit", "equal")
_SHOWN = 1500  # points of a panel: more hide each other
_NARROWEST = 1.5  # inches of a panel
_LEAST = 1e-4  # what is below is shown there: nothing is lost
_NAMED = 8  # counts that are named on an axis
_MARKERS = "osD^v<>P"


def take_over(
    panels: Mapping[str, tuple[Tensor, Tensor]],
    label: str = "the channel that goes",
    *,
    line: str = "fit",
    cut_off: float | None = None,
    style: Style | None = None,
) -> Figure:
    """Show how far one quantity follows from others: a panel for each, a point for each position in the pictures.

    Above each panel stands the share of the variance that the line explains; the rest is what is lost.

    Parameters
    ----------
    panels : mapping of str to (Tensor, Tensor)
        By the name of the horizontal axis, such as "channel 11": what is there, and beside it what is wanted,
        (positions,) both.
    label : str
        Of the vertical axis: what is wanted.
    line : {"fit", "equal"}
        The straight line that fits best, or the one on which both are equal.
    cut_off : float, optional
        What a ReLU behind cuts off is below: points of which that is true on both axes are grey, and do not count.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Without panels, for tensors of different or no length, for another line.
    """
    if line not in LINES:
        raise ValueError(one_of("line", line, LINES))
    if not panels:
        raise ValueError("take_over shows at least one panel; got none")
    points = {name: _pair(name, *pair) for name, pair in panels.items()}

    def columns(width: float) -> int:
        return max(1, min(len(points), int(width / _NARROWEST)))

    def height(width: float, text: float) -> float:
        across = columns(width)
        return -(-len(points) // across) * (width / across + 2 * text) + text

    with new_figure(2.5 * len(points), height, style) as figure:
        across = columns(figure.get_figwidth())
        axes = figure.subplots(-(-len(points) // across), across, squeeze=False, sharey=True)
        names = all_shortened(list(points), 72 * figure.get_figwidth() / across - 4 * small())
        for axis, name, (x, y) in zip(axes.ravel(), names, points.values(), strict=False):
            idle = np.zeros(len(x), bool) if cut_off is None else (x <= cut_off) & (y <= cut_off)
            slope, offset = _line(x, y) if line == "fit" else (1.0, 0.0)
            some = np.random.default_rng(0).permutation(len(x))[:_SHOWN]
            colours = np.where(idle, GREY, BLUE)[some]
            axis.scatter(x[some], y[some], s=5, c=colours, linewidths=0, alpha=0.35, rasterized=True)
            ends = np.array([x.min(), x.max()])
            axis.plot(ends, slope * ends + offset, color=ORANGE, lw=1.6)
            share = _explained(y[~idle], slope * x[~idle] + offset)
            axis.set_title("" if np.isnan(share) else f"{share:.1%} explained", fontsize=small())
            axis.set_xlabel(name)
            axis.locator_params(nbins=4)
        for axis in axes.ravel()[len(points) :]:
            axis.set_axis_off()
        for axis in axes[:, 0]:
            axis.set_ylabel(label)
        if cut_off is not None:
            legend_above(figure, [mark("counts", BLUE, markersize=4), mark("cut off either way", GREY, markersize=4)])
    return figure


def repair_errors(
    report: pd.DataFrame, names: tuple[str, str] = ("as cut", "repaired"), *, style: Style | None = None
) -> Figure:
    """Show each layer's error before and after repair, on pictures that were not used.

    1 is the error of a layer that always gives the mean. A layer whose error cannot be told is hatched: one that never
    ran, or gives a constant.

    Parameters
    ----------
    report : pandas.DataFrame
        From `fpgmlab.repair_report`.
    names : tuple of str
        What the two are called.
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
    missing = [name for name in ("layer", "before", "after") if name not in report]
    if missing or report.empty:
        raise ValueError(f"the report must have rows, as from repair_report; missing columns: {missing or 'none'}")
    before, after = (report[name].to_numpy(float).clip(min=_LEAST) for name in ("before", "after"))
    told = np.isfinite(before) & np.isfinite(after)
    place = np.arange(len(report))
    low = min(0.5, float(np.min(after[told], initial=1.0)))
    high = max(1.0, float(np.max(before[told], initial=1.0)))
    with new_figure(5.4, rows(len(report), room=1.0, most=2.4), style) as figure:
        axis = figure.subplots()
        axis.axvline(1, color="0.25", lw=0.7, ls=(0, (3, 2)), zorder=1)
        axis.hlines(place[told], after[told], before[told], color=LIGHT, lw=1.6, zorder=2)
        axis.plot(before[told], place[told], "o", color=ORANGE, markersize=4, mew=0, zorder=3)
        axis.plot(after[told], place[told], "o", color=BLUE, markersize=4, mew=0, zorder=4)
        for i in place[~told]:
            hatch(axis, (0, i - 0.4), (1, 0.8), axis.get_yaxis_transform())
        name_rows(axis.yaxis, list(report["layer"]))
        axis.set_xscale("log")
        axis.set(xlim=(low / 1.4, high * 1.4), ylim=(len(report) - 0.4, -0.6))
        axis.set(xlabel=_error_label(figure), ylabel="layer, in order of execution")
        axis.grid(axis="x", color="0.93", lw=0.5)
        axis.set_axisbelow(True)
        handles = [mark(names[0], ORANGE, markersize=4), mark(names[1], BLUE, markersize=4)]
        handles.append(Line2D([], [], color="0.25", lw=0.7, ls=(0, (3, 2)), label="a constant"))
        legend_above(figure, handles if told.all() else [*handles, hatched()])
    return figure


def repair_over(
    frame: pd.DataFrame, x: str, y: str, by: str | None = None, *, reference: float | None = None,
    style: Style | None = None,
) -> Figure:  # fmt: skip
    """Show what becomes of a repair when one of its choices varies, such as the ridge or the number of pictures.

    A line of means for each series, with a band from the smallest to the largest where a choice was tried repeatedly.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each repair.
    x, y : str
        Columns, and what the axes are called: the choice, > 0, on a logarithmic axis; what it brings.
    by : str, optional
        Column that tells the series apart.
    reference : float, optional
        Of the unpruned network: a dashed line.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or these columns, and for choices that are not above 0.
    """
    for name in (x, y, *([] if by is None else [by])):
        if name not in frame:
            raise ValueError(unknown("column", name, list(frame.columns)))
    if frame.empty or not (frame[x] > 0).all():
        raise ValueError(f"the frame must have rows, with {x!r} above 0; got {len(frame)}, the least {frame[x].min()}")
    series = {"": frame} if by is None else {str(name): part for name, part in frame.groupby(by, sort=False)}
    with new_figure(4.6, 2.9, style) as figure:
        axis = figure.subplots()
        handles = []
        for i, (name, part) in enumerate(series.items()):
            found = part.groupby(x)[y].agg(["mean", "min", "max"])
            color, marker = CYCLE[i % len(CYCLE)], _MARKERS[i % len(_MARKERS)]
            handles += axis.plot(
                found.index, found["mean"], label=name, lw=1.1, color=color, marker=marker, markersize=4, mew=0
            )
            axis.fill_between(found.index, found["min"], found["max"], color=color, alpha=0.2, lw=0)
        if reference is not None:
            line = axis.axhline(reference, color="0.25", lw=0.7, ls=(0, (3, 2)), label="unpruned network")
            handles.append(line)
        axis.set_xscale("log")
        if (frame[x] >= 1).all() and frame[x].nunique() <= _NAMED:  # counts: as they are
            axis.set_xticks(sorted(set(frame[x])), [f"{count:g}" for count in sorted(set(frame[x]))])
            axis.set_xticks([], minor=True)
        axis.set(xlabel=x, ylabel=y)
        if reference is not None and frame[y].between(0, 1).all():
            axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            fine = frame[y].max() - frame[y].min() < 0.04
            axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1 if fine else 0))
        axis.grid(color="0.93", lw=0.5)
        axis.set_axisbelow(True)
        if by is not None or reference is not None:
            legend_above(figure, [handle for handle in handles if handle.get_label()])
    return figure


def _error_label(figure: Figure) -> str:
    """Return what the errors are, in two lines where the axis beside long names is too narrow for one."""
    ratio, of = "squared error / variance", "of what the layer shall give"
    whole = f"{ratio} {of}"
    return whole if text_width(whole, small() + 1) < 0.55 * 72 * figure.get_figwidth() else f"{ratio}\n{of}"


def _pair(name: str, there: Tensor, wanted: Tensor) -> tuple[np.ndarray, np.ndarray]:
    if there.ndim != 1 or there.shape != wanted.shape or not len(there):
        raise ValueError(
            f"{name}: both must be (positions,) of one length, at least one; got {tuple(there.shape)} and "
            f"{tuple(wanted.shape)}"
        )
    x, y = (tensor.detach().cpu().double().numpy() for tensor in (there, wanted))
    return x, y


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return slope and offset of the line that fits best; a flat one where x does not vary."""
    spread = float(x.var())
    slope = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread else 0.0
    return slope, float(y.mean() - slope * x.mean())


def _explained(wanted: np.ndarray, given: np.ndarray) -> float:
    """Return the share of the variance that is explained; NaN where nothing varies."""
    spread = float(((wanted - wanted.mean()) ** 2).sum()) if len(wanted) else 0.0
    return 1 - float(((wanted - given) ** 2).sum()) / spread if spread else float("nan")
