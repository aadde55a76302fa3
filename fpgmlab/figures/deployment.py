"""Theory beside practice: what of the saved MACs came back as time, and where layers stand under the roof."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fpgmlab.deployment.roofline import Roof
from fpgmlab.deployment.theory import BLOCKS, LAYOUT, MEMORY, OVERHEAD, REST, WHOLE
from fpgmlab.figures.parts import legend_above, mark, name_columns, swatch
from fpgmlab.figures.style import BLUE, GREY, LIGHT, ORANGE, PURPLE, RED, Style, new_figure

COLOURS = {BLOCKS: ORANGE, LAYOUT: RED, MEMORY: PURPLE, OVERHEAD: GREY}
WHY = {BLOCKS: "whole blocks", LAYOUT: "another kernel", MEMORY: "memory", OVERHEAD: "overhead"}


def theory_and_practice(frame: pd.DataFrame, *, style: Style | None = None) -> Figure:
    """Show for each layer the time that its MACs promise, what it takes above that and why, and what is saved.

    Why: its channels are computed in *whole blocks*; their numbers no longer fit the quick kernel, and *another* has to
    do it; *memory* takes its time; what is left is *overhead*.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `fpgmlab.theory_and_practice`.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame that is not from `fpgmlab.theory_and_practice`.
    """
    layers, whole = _parts(frame)
    with new_figure(min(10.0, 0.22 * len(layers) + 4.0), lambda _, text: 2.0 + 10 * text, style) as figure:
        axis, right = figure.subplots(1, 2, width_ratios=[1, 0.2])
        _stack(axis, layers, {reason: np.where(layers["reason"] == reason, _lost(layers), 0) for reason in COLOURS})
        _stack(right, whole, {reason: _lost(layers[layers["reason"] == reason]).sum()[None] for reason in COLOURS})
        name_columns(axis.xaxis, list(layers["layer"]), 0.78 * figure.get_figwidth())
        axis.set(xlabel="layer, in network order", ylabel="milliseconds")
        axis.margins(x=0.01)
        right.set(xlim=(-0.9, 0.9), xticks=[], xlabel="all")
        handles = [swatch("as promised", BLUE)]
        handles += [
            swatch(WHY[reason], colour) for reason, colour in COLOURS.items() if (layers["reason"] == reason).any()
        ]
        before = Line2D([], [], color="0.15", lw=0.8, label="before")
        legend_above(figure, [*handles, swatch("saved", LIGHT), before])
    return figure


def layers_under_roof(frame: pd.DataFrame, roof: Roof, *, style: Style | None = None) -> Figure:
    """Show each layer under the roof of the machine, before and after: MACs a second over MACs for each byte.

    Left of the edge of the roof memory decides, right of it arithmetic; the roof of what a cache holds is dashed. A
    layer that moved down computes less in its time than before.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `fpgmlab.theory_and_practice`.
    roof : Roof
        From `fpgmlab.machine_roof`.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame that is not from `fpgmlab.theory_and_practice`.
    """
    layers, _ = _parts(frame)
    layers = layers[(layers[["ms", "ms_before", "macs", "macs_before"]] > 0).all(axis=1)]
    sides = {
        "": (layers["macs"] / layers["bytes"], layers["macs"] / layers["ms"] / 1e6),
        "_before": (layers["macs_before"] / layers["bytes_before"], layers["macs_before"] / layers["ms_before"] / 1e6),
    }
    top = roof.peak / 1e9
    x = np.concatenate([side[0] for side in sides.values()])
    y = np.concatenate([side[1] for side in sides.values()])
    edge = roof.peak / roof.bandwidth
    low, high = min(x.min(initial=edge), edge) / 2, max(x.max(initial=edge), edge) * 2
    with new_figure(4.8, 3.4, style) as figure:
        axis = figure.subplots()
        for bandwidth, dashes in ((roof.bandwidth, "-"), (max(roof.bandwidths), "--")):
            corner = max(roof.peak / bandwidth, low)
            axis.plot([low, corner, high], [min(low * bandwidth / 1e9, top), top, top], dashes, color="0.35", lw=1.2)
        axis.plot(np.stack([sides["_before"][0], sides[""][0]]), np.stack([sides["_before"][1], sides[""][1]]),
                  color="0.8", lw=0.7, zorder=1)  # fmt: skip
        axis.plot(*sides["_before"], "o", color="0.45", mfc="white", markersize=4, mew=0.8, zorder=2)
        colours = layers["reason"].map(COLOURS).fillna(BLUE)
        axis.scatter(*sides[""], s=20, c=colours.tolist(), linewidths=0, zorder=3)
        axis.set(xscale="log", yscale="log", xlim=(low, high))
        axis.set(ylim=(min(y.min(initial=top), top) / 2, max(y.max(initial=top), top) * 2))
        axis.set(xlabel="MACs for each byte that is moved", ylabel="billion MACs a second")
        axis.grid(color="0.93", lw=0.5)
        axis.set_axisbelow(True)
        dram, cache = roof.bandwidth / 1e9, max(roof.bandwidths) / 1e9
        line = [
            Line2D([], [], color="0.35", lw=1.2, label=f"{dram:,.0f} GB, {top:,.0f} billion MACs a second"),
            Line2D([], [], color="0.35", lw=1.2, ls="--", label=f"caches, {cache:,.0f} GB a second"),
        ]
        marks = [mark("before", "0.45", mfc="white", markersize=4, mew=0.8), mark("after", BLUE, markersize=4.5, mew=0)]
        legend_above(
            figure, [*line, *marks, *(mark(WHY[r], COLOURS[r], markersize=4.5, mew=0) for r in _reasons(layers))]
        )
    return figure


def _parts(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of layers, and the row of the network."""
    needed = {"layer", "macs", "macs_before", "bytes", "bytes_before", "ms", "ms_before", "promised_ms", "reason"}
    if needed - set(frame) or not (frame["layer"] == WHOLE).any() or len(frame) < 2:
        raise ValueError(
            "the frame must be from fpgmlab.theory_and_practice, with a row for each layer and the whole network; "
            f"missing columns: {sorted(needed - set(frame)) or 'none'}"
        )
    return frame[~frame["layer"].isin([REST, WHOLE])], frame[frame["layer"] == WHOLE]


def _reasons(layers: pd.DataFrame) -> list[str]:
    return [reason for reason in COLOURS if (layers["reason"] == reason).any()]


def _lost(layers: pd.DataFrame) -> np.ndarray:
    return np.maximum(layers["ms"] - layers["promised_ms"], 0).to_numpy()


def _stack(axis: Axes, rows: pd.DataFrame, lost: dict[str, np.ndarray]) -> None:
    """Draw what is promised, what is lost for each reason, and what it was before."""
    place = np.arange(len(rows))
    ms, before = rows["ms"].to_numpy(), rows["ms_before"].to_numpy()
    axis.bar(place, before, color=LIGHT, width=0.8)
    axis.bar(place, ms, color=BLUE, width=0.8)
    bottom = ms - sum(lost.values())
    for reason, taken in lost.items():
        axis.bar(place, taken, bottom=bottom, color=COLOURS[reason], width=0.8)
        bottom = bottom + taken
    axis.set_ylim(0, 1.04 * max(ms.max(), before.max()))
    axis.hlines(before, place - 0.4, place + 0.4, color="0.15", lw=0.8, zorder=3)  # seen where time grew as well
