"""The scales of batch norms, layer by layer and all together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fpgmlab.errors import one_of
from fpgmlab.figures.parts import legend_above, name_columns, name_rows, rows, swatch
from fpgmlab.figures.style import BLUE, GREY, LIGHT, RED, Style, new_figure

BY = ("network", "layer")
_BINS = 72


def gamma_ridgeline(frame: pd.DataFrame, dead: float = 0.01, *, style: Style | None = None) -> Figure:
    """Show the distribution of ``|gamma|`` in each layer, in network order; the dead ones as red spikes at 0.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `fpgmlab.gammas`.
    dead : float
        Scales below it count as dead: a full row of red is a layer in which all are.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or the columns of `fpgmlab.gammas`.
    """
    layers = _by_layer(frame)
    top = max(1.06 * max(values.max() for values in layers.values()), 2 * dead)
    edges = np.linspace(0, top, _BINS + 1)
    shares = [float((values < dead).mean()) for values in layers.values()]
    with new_figure(5.4, rows(len(layers), most=2.4), style) as figure:
        axis = figure.subplots()
        for i, values in enumerate(layers.values()):
            alive = values[values >= dead]
            line = _smooth(np.histogram(alive, edges)[0])
            heights = 1.5 * line / line.max() if len(alive) else line
            centres = (edges[:-1] + edges[1:]) / 2
            axis.fill_between(centres, i - heights, i, color=BLUE, alpha=0.75, lw=0, zorder=2 * i + 2)
            axis.plot(centres, i - heights, color="white", lw=0.7, zorder=2 * i + 2)
            axis.axhline(i, color=LIGHT, lw=0.5, zorder=2 * i + 2)
            if shares[i]:
                axis.plot([0, 0], [i, i - 0.9 * shares[i]], color=RED, lw=3, solid_capstyle="butt", zorder=2 * i + 3,
                          clip_on=False)  # fmt: skip
        if any(shares):
            names = [f"{share:.0%}" if share else "" for share in shares]
            right = axis.secondary_yaxis("right")
            right.set_yticks(np.arange(len(names)), names, color=RED)
            right.set_ylabel(f"dead: |gamma| < {dead:g}", color=RED)
            right.tick_params(length=0)
            right.spines["right"].set_visible(False)
        name_rows(axis.yaxis, list(layers))
        axis.set(ylim=(len(layers) - 0.7, -1.6), xlim=(0, top), xlabel="|gamma|", ylabel="batch norm, in network order")
        axis.spines["left"].set_visible(False)
    return figure


def gamma_histogram(
    frame: pd.DataFrame, threshold: float | None = None, log: bool = True, *, style: Style | None = None
) -> Figure:
    """Show the distribution of all ``|gamma|`` of a network, with a global threshold and the share below it.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `fpgmlab.gammas`.
    threshold : float, optional
        As from `fpgmlab.thresholds.global_cut`; it may be infinite.
    log : bool
        Whether counts are shown on a logarithmic axis.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or the columns of `fpgmlab.gammas`.
    """
    values = np.concatenate(list(_by_layer(frame).values()))
    top = float(values.max()) or 1.0
    edges = np.linspace(0, top, _BINS + 1)
    if threshold is not None and 0 < threshold < top:  # an edge of its own: no bar is of two colours
        edges = np.unique(np.append(edges, threshold))
    counts, _ = np.histogram(values, edges)
    below = np.zeros(len(counts), bool) if threshold is None else edges[:-1] < threshold
    with new_figure(4.6, 2.7, style) as figure:
        axis = figure.subplots()
        axis.bar(edges[:-1], counts, np.diff(edges), align="edge", color=np.where(below, RED, BLUE), lw=0)
        if threshold is not None:
            share = float((values < threshold).mean())
            handles = [swatch(f"below {threshold:.3g}: {share:.1%}", RED), swatch(f"above: {1 - share:.1%}", BLUE)]
            legend_above(figure, handles)
            if np.isfinite(threshold):
                axis.axvline(threshold, color="black", lw=0.9, ls=(0, (4, 2)))
        axis.set(xlabel="|gamma|", ylabel="channels", xlim=(0, max(top, min(threshold or 0.0, 1.2 * top))))
        if log:
            axis.set_yscale("log")
            axis.set_ylim(bottom=0.7)
    return figure


def gamma_summary(frame: pd.DataFrame, *, style: Style | None = None) -> Figure:
    """Show mean and standard deviation of ``|gamma|`` in each layer, and its range.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `fpgmlab.gammas`.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or the columns of `fpgmlab.gammas`.
    """
    layers = _by_layer(frame)
    place = np.arange(len(layers))
    mean, deviation, low, high = (np.array([f(v) for v in layers.values()]) for f in (np.mean, np.std, np.min, np.max))
    with new_figure(max(4.0, min(7.0, 0.2 * len(layers) + 1.5)), 2.9, style) as figure:
        axis = figure.subplots()
        axis.vlines(place, low, high, color=LIGHT, lw=1.2)
        axis.vlines(
            place, np.maximum(mean - deviation, low), np.minimum(mean + deviation, high), color=BLUE, lw=3, alpha=0.55
        )
        axis.plot(place, mean, "o", color=BLUE, markersize=3.6)
        name_columns(axis.xaxis, list(layers), 0.84 * figure.get_figwidth())
        axis.set(xlabel="batch norm, in network order", ylabel="|gamma|", xlim=(-0.7, len(layers) - 0.3))
        axis.set_ylim(bottom=0)
        handles = [swatch("mean ± standard deviation", BLUE, alpha=0.7), swatch("smallest to largest", LIGHT)]
        legend_above(figure, handles)
    return figure


def gamma_before_after(
    before: pd.DataFrame,
    after: pd.DataFrame,
    by: str = "network",
    *,
    names: tuple[str, str] = ("before", "after"),
    style: Style | None = None,
) -> Figure:
    """Compare the ``|gamma|`` of a network before and after sparse training.

    Parameters
    ----------
    before, after : pandas.DataFrame
        From `fpgmlab.gammas`, of networks with the same layers.
    by : {"network", "layer"}
        All gammas of the network in ascending order as two curves; or for each layer the two distributions, before
        above the line and after below.
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
        For frames without rows or the columns of `fpgmlab.gammas`, another ``by``, and by layer for different layers.
    """
    if by not in BY:
        raise ValueError(one_of("by", by, BY))
    one, two = _by_layer(before), _by_layer(after)
    if by == "network":
        with new_figure(4.2, 2.9, style) as figure:
            axis = figure.subplots()
            for layers, colour, name in ((one, GREY, names[0]), (two, BLUE, names[1])):
                values = np.sort(np.concatenate(list(layers.values())))
                axis.plot((np.arange(len(values)) + 1) / len(values), values, color=colour, label=name)
            axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axis.set(xlabel="channels of the network, in ascending order", ylabel="|gamma|", xlim=(0, 1))
            axis.set_ylim(bottom=0)
            legend_above(figure, [swatch(names[0], GREY), swatch(names[1], BLUE)])
        return figure
    if list(one) != list(two):
        raise ValueError(f"before and after must have the same layers; got {list(one)[:4]} ... and {list(two)[:4]} ...")
    top = 1.02 * max(max(v.max() for v in [*one.values(), *two.values()]), 1e-12)
    edges = np.linspace(0, top, _BINS + 1)
    with new_figure(5.4, rows(len(one), least=2.0, most=3.2), style) as figure:
        axis = figure.subplots()
        for i, name in enumerate(one):
            _half(axis, i, -0.46, one[name], edges, GREY)
            _half(axis, i, 0.46, two[name], edges, BLUE)
            axis.axhline(i, color="0.7", lw=0.4)
        name_rows(axis.yaxis, list(one))
        axis.set(ylim=(len(one) - 0.4, -0.6), xlim=(0, top), xlabel="|gamma|", ylabel="batch norm, in network order")
        axis.spines["left"].set_visible(False)
        legend_above(figure, [swatch(f"{names[0]} (above each line)", GREY), swatch(f"{names[1]} (below)", BLUE)])
    return figure


def _by_layer(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return |gamma| by layer, in order."""
    missing = [name for name in ("layer", "gamma") if name not in frame]
    if missing or frame.empty:
        raise ValueError(f"the frame must have rows, as from fpgmlab.gammas; missing columns: {missing or 'none'}")
    return {name: np.abs(each.to_numpy(float)) for name, each in frame.groupby("layer", sort=False)["gamma"]}


def _smooth(counts: np.ndarray, width: float = 1.2) -> np.ndarray:
    kernel = np.exp(-((np.arange(-4, 5) / width) ** 2) / 2)
    return np.convolve(counts, kernel / kernel.sum(), mode="same")


def _half(axis: Axes, row: int, reach: float, values: np.ndarray, edges: np.ndarray, colour: str) -> None:
    """Draw a distribution to one side of its row, the highest bar as far as it goes; roots, so that tails are seen."""
    shares = np.sqrt(np.histogram(values, edges)[0])
    axis.stairs(row + reach * shares / shares.max(), edges, baseline=row, fill=True, color=colour, lw=0)
