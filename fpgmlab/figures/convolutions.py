"""Efficient convolutions: how far they look, which channels they read, what MACs and channels cost in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MultipleLocator, NullFormatter
from torch import Tensor

from fpgmlab.figures.parts import all_shortened, legend_above, mark, name_rows, rows
from fpgmlab.figures.style import BLUE, CYCLE, LIGHT, ORANGE, RED, Style, new_figure, small
from fpgmlab.models.receptive import extent

_NARROWEST = 1.2  # inches of a panel
_FAINTEST = 1e-4  # of the largest gradient: what is below has the same colour


def receptive_fields(
    fields: Mapping[str, Tensor], sizes: Mapping[str, int] | None = None, *, style: Style | None = None
) -> Figure:
    """Show how much a position depends on each pixel, a panel for each network: white where it does not look.

    Parameters
    ----------
    fields : mapping of str to Tensor, (height, width)
        By name, as from `fpgmlab.models.receptive_field`; of one size.
    sizes : mapping of str to int, optional
        Pixels across by the formula: a frame around the middle.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Without fields, or for fields that differ in size or have another number of dimensions.
    """
    arrays = _panels("receptive_fields", fields)
    here = np.any([array > 0 for array in arrays.values()], axis=0)
    frames = max((sizes or {}).values(), default=1)
    middle = [size // 2 for size in here.shape]
    reach = [_farthest(here.any(1 - d), middle[d]) for d in (0, 1)]  # all panels show the same pixels
    down, across = (max(r, frames // 2) + 2 for r in reach)
    with new_figure(2.1 * len(arrays), _squares(len(arrays), (2 * down + 1) / (2 * across + 1)), style) as figure:
        titles = all_shortened(list(arrays), 72 * figure.get_figwidth() / len(arrays) - small())
        for axis, title, (name, array) in zip(_axes(figure, len(arrays)), titles, arrays.items(), strict=True):
            shown = np.ma.masked_equal(array / (array.max() or 1.0), 0)
            image = axis.imshow(shown, cmap="viridis", norm=LogNorm(_FAINTEST, 1, clip=True), rasterized=True)
            axis.set(xlim=(middle[1] - across - 0.5, middle[1] + across + 0.5))
            axis.set(ylim=(middle[0] + down + 0.5, middle[0] - down - 0.5), xticks=[], yticks=[])
            axis.set_title(title, fontsize=small())
            axis.set_xlabel("{} by {} pixels".format(*extent(fields[name])))
            axis.spines[:].set_visible(False)
            if sizes and name in sizes:
                corner = (middle[1] - sizes[name] / 2, middle[0] - sizes[name] / 2)
                axis.add_patch(Rectangle(corner, sizes[name], sizes[name], fill=False, ec=RED, lw=1.2, zorder=3))
        figure.supylabel("pixels of the picture", fontsize=small())
        figure.colorbar(image, ax=figure.axes, label="gradient / largest", shrink=0.9, pad=0.02)
        if sizes:
            legend_above(figure, [Line2D([], [], color=RED, lw=1.2, label="by the formula")])
    return figure


def channel_reach(reach: Mapping[str, Tensor], *, style: Style | None = None) -> Figure:
    """Show which input channels each output channel depends on, a panel for each network.

    Parameters
    ----------
    reach : mapping of str to Tensor, (outputs, inputs)
        By name, how much an output depends on an input; 0 for not at all. Of one size.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Without panels, or for panels that differ in size or have another number of dimensions.
    """
    arrays = _panels("channel_reach", reach)
    shape = next(iter(arrays.values())).shape
    with new_figure(2.1 * len(arrays), _squares(len(arrays), shape[0] / shape[1]), style) as figure:
        titles = all_shortened(list(arrays), 72 * figure.get_figwidth() / len(arrays) - small())
        for axis, title, array in zip(_axes(figure, len(arrays)), titles, arrays.values(), strict=True):
            axis.imshow(array > 0, cmap="Blues", vmin=0, vmax=1.4, interpolation="nearest")
            axis.set(xticks=[], yticks=[], xlabel="channels that are read")
            axis.set_title(title, fontsize=small())
        figure.axes[0].set_ylabel("channels that are given")
    return figure


def macs_and_time(frame: pd.DataFrame, *, style: Style | None = None) -> Figure:
    """Show how much of the MACs is left of several layers or networks, and how much of the time.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each: name, macs and time, in any units; the first is what the others are compared with.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or these columns, and for values that are not above 0.
    """
    _check(frame, ("name", "macs", "time"))
    macs, time = (frame[column].to_numpy(float) / float(frame[column].iloc[0]) for column in ("macs", "time"))
    place = np.arange(len(frame))
    with new_figure(5.0, rows(len(frame), room=0.9, most=2.6), style) as figure:
        axis = figure.subplots()
        axis.axvline(1, color="0.25", lw=0.7, ls=(0, (3, 2)), zorder=1)
        axis.hlines(place, np.minimum(macs, time), np.maximum(macs, time), color=LIGHT, lw=1.6, zorder=2)
        axis.plot(macs, place, "o", color=ORANGE, markersize=5, mew=0, zorder=3)
        axis.plot(time, place, "D", color=BLUE, markersize=4.5, mew=0, zorder=4)
        name_rows(axis.yaxis, [str(name) for name in frame["name"]])
        least, most = min(macs.min(), time.min()), max(macs.max(), time.max())
        ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if least / 1.6 <= tick <= 1.3 * most]
        axis.set_xscale("log")
        axis.set_xticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set(xlim=(least / 1.4, 1.3 * most), ylim=(len(frame) - 0.4, -0.6))
        axis.set(xlabel=f"MACs and time, of those of {frame['name'].iloc[0]}", ylabel="layer or network")
        axis.grid(axis="x", color="0.93", lw=0.5)
        axis.set_axisbelow(True)
        legend_above(figure, [mark("MACs", ORANGE, markersize=5), mark("time", BLUE, "D", markersize=4.5)])
    return figure


def time_over_channels(frame: pd.DataFrame, block: int = 16, *, style: Style | None = None) -> Figure:
    """Show how long layers take over their number of channels, with the multiples of a block marked.

    Parameters
    ----------
    frame : pandas.DataFrame
        name, channels, ms: a line for each name.
    block : int
        Channels that a runtime computes at once.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or these columns, and for values that are not above 0.
    """
    _check(frame, ("name", "channels", "ms"))
    with new_figure(4.8, 3.0, style) as figure:
        axis = figure.subplots()
        handles = []
        for i, (name, part) in enumerate(frame.groupby("name", sort=False)):
            part = part.groupby("channels", as_index=False)["ms"].median()
            whole = part[part["channels"] % block == 0]
            colour = CYCLE[i % len(CYCLE)]
            axis.plot(part["channels"], part["ms"], color=colour, lw=1.0, marker="o", markersize=2.5, mew=0)
            axis.plot(whole["channels"], whole["ms"], "o", color=colour, markersize=6, mew=0)
            handles.append(Line2D([], [], color=colour, lw=1.0, marker="o", markersize=2.5, mew=0, label=str(name)))
        low, high = frame["channels"].min(), frame["channels"].max()
        for multiple in range(-(-low // block) * block, high + 1, block):
            axis.axvline(multiple, color="0.85", lw=0.8, zorder=0)
        handles.append(mark(f"multiples of {block}", "0.4", markersize=6))
        axis.xaxis.set_major_locator(MultipleLocator(block / 2 if high - low < 8 * block else block))
        axis.set(xlabel="channels", ylabel="milliseconds", ylim=(0, None))
        legend_above(figure, handles)
    return figure


def _panels(name: str, panels: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    shapes = {tuple(panel.shape) for panel in panels.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(f"{name} shows at least one panel, all of one size with two dimensions; got {sorted(shapes)}")
    return {key: panel.detach().cpu().double().numpy() for key, panel in panels.items()}


def _axes(figure: Figure, count: int) -> list[Axes]:
    """Return axes for so many square panels, in as many rows as their least width asks for."""
    across = _across(figure.get_figwidth(), count)
    axes = figure.subplots(-(-count // across), across, squeeze=False).ravel()
    for axis in axes[count:]:
        axis.set_axis_off()
    return list(axes[:count])


def _across(width: float, count: int) -> int:
    return max(1, min(count, int(width / _NARROWEST)))


def _squares(count: int, ratio: float) -> Callable[[float, float], float]:
    """Return a height for `new_figure` of panels whose height is a ratio of their width."""

    def height(width: float, text: float) -> float:
        across = _across(width, count)
        return -(-count // across) * (0.86 * width / across * ratio + 4 * text) + 2 * text

    return height


def _check(frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    missing = [name for name in columns if name not in frame]
    if missing or frame.empty or not (frame[list(columns[1:])] > 0).all(axis=None):
        raise ValueError(
            f"the frame must have rows, with {' and '.join(columns[1:])} above 0; missing columns: {missing or 'none'}"
        )


def _farthest(there: np.ndarray, middle: int) -> int:
    return int(np.abs(np.flatnonzero(there) - middle).max(initial=0))
