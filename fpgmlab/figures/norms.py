"""When does "small norm" mean "unimportant"? The argument of the FPGM paper's Figure 2, on real layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from fpgmlab.criteria.tables import relative_norms
from fpgmlab.errors import unknown
from fpgmlab.figures.parts import legend_above, points_across, shortened
from fpgmlab.figures.style import BLUE, GREEN, GREY, LIGHT, ORANGE, RED, Style, new_figure, small

_BINS = 32
# Where the criterion has what it asks for: deviation of the norms, smallest norm, both as shares of the mean norm.
_WIDE, _SMALL = 0.4, 0.25


def norm_distributions(
    frame: pd.DataFrame, layers: Sequence[str] | None = None, *, style: Style | None = None
) -> Figure:
    """Show how the norms of a few layers are distributed, below the distribution that the norm criterion needs.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `fpgmlab.criteria.norms_and_distances`.
    layers : sequence of str, optional
        Four spread over the depth when left out.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without the columns of `fpgmlab.criteria.norms_and_distances`, and an unknown layer.
    """
    shares = relative_norms(frame)
    known = list(dict.fromkeys(shares["layer"]))
    if layers is None:
        layers = [known[i] for i in dict.fromkeys(np.linspace(0, len(known) - 1, 4).round().astype(int).tolist())]
    for name in layers:
        if name not in known:
            raise ValueError(unknown("layer", name, known))
    top = max(2.1, 1.05 * float(shares.loc[shares["layer"].isin(layers), "relative"].max()))
    edges = np.linspace(0, top, _BINS + 1)
    with new_figure(4.8, lambda width, text: (len(layers) + 1) * 5.6 * text + 0.65, style) as figure:
        axes = figure.subplots(len(layers) + 1, sharex=True, squeeze=False)[:, 0]
        figure.set_layout_engine("constrained", hspace=0.0, h_pad=0.015)
        _needed(axes[0], edges)
        for axis, name in zip(axes[1:], layers, strict=True):
            _distribution(axis, name, shares.loc[shares["layer"] == name, "relative"].to_numpy(), edges)
        for axis in axes[:-1]:
            axis.tick_params(labelbottom=False)
        spread = Line2D([], [], color=ORANGE, lw=2, label="mean ± standard deviation")
        legend_above(figure, [Line2D([], [], color="0.4", lw=0.8, label="smallest to largest"), spread])
        axes[-1].set_xlabel("norm of a filter / mean norm of its layer")
        figure.supylabel("filters", fontsize=axes[-1].xaxis.label.get_fontsize())
    return figure


def norm_requirements(frame: pd.DataFrame, *, style: Style | None = None) -> Figure:
    """Show for each layer whether the norm criterion has what it needs: norms that spread, the smallest near 0.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `fpgmlab.criteria.norms_and_distances`.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For a frame without rows or the columns of `fpgmlab.criteria.norms_and_distances`.
    """
    each = relative_norms(frame).groupby("layer", sort=False)["relative"]
    spread, least = each.std(ddof=0).to_numpy(), each.min().to_numpy()
    right = max(0.65, 1.08 * float(spread.max(initial=0)))
    with new_figure(4.6, 3.6, style) as figure:
        axis = figure.subplots()
        axis.add_patch(Rectangle((_WIDE, 0), right - _WIDE, _SMALL, color=GREEN, alpha=0.13, lw=0))
        axis.add_patch(Rectangle((0, 0.5), 0.2, 0.55, color=RED, alpha=0.13, lw=0))
        axis.text(right - 0.01, _SMALL - 0.02, "sound: wide spread,\nsmallest near 0", color=GREEN, ha="right",
                  va="top", fontsize=small(), linespacing=1.15)  # fmt: skip
        # Beside its corner, where no layer can be: norms that spread are not all close to the mean.
        axis.text(0.21, 1.04, "fails: all alike,\nnone near 0", color=RED, ha="left", va="top", fontsize=small(),
                  linespacing=1.15)  # fmt: skip
        points = axis.scatter(
            spread, least, c=np.arange(1, len(least) + 1), cmap="viridis", s=26, edgecolors="white", linewidths=0.5,
            clip_on=False, zorder=3,
        )  # fmt: skip
        axis.set(xlim=(0, right), ylim=(0, 1.06))
        axis.set_xlabel("standard deviation of the norms / mean norm")
        axis.set_ylabel("smallest norm / mean norm")
        bar = figure.colorbar(points, ax=axis, label="layer, in network order", aspect=28, pad=0.02)
        bar.outline.set_visible(False)
        bar.locator = MaxNLocator(integer=True, nbins=6)
        bar.update_ticks()
    return figure


def _needed(axis: Axes, edges: np.ndarray) -> None:
    x = np.linspace(0, 2, 200)
    axis.fill_between(x, np.exp(-(((x - 1) / 0.42) ** 2) / 2), color=GREEN, alpha=0.25, lw=0)
    axis.set(ylim=(0, 1.9), yticks=[], xlim=(edges[0], edges[-1]))
    axis.text(0.02, 0.96, "what “small norm” needs", transform=axis.transAxes, va="top", color=GREEN, fontsize=small())
    axis.text(1, 0.96, "wide spread, smallest near 0", transform=axis.transAxes, va="top", ha="right", color=GREEN,
              fontsize=small())  # fmt: skip
    _marks(axis, 0.05, 1.95, 0.42, 1.2)


def _distribution(axis: Axes, name: str, values: np.ndarray, edges: np.ndarray) -> None:
    counts, _ = np.histogram(values, edges)
    axis.bar(edges[:-1], counts, np.diff(edges), align="edge", color=BLUE, alpha=0.45, lw=0)
    top = float(counts.max())
    axis.set_ylim(0, 1.9 * top)
    axis.set_yticks([0, int(top)])
    axis.set_xlim(edges[0], edges[-1])
    low, high, spread = values.min(), values.max(), values.std()
    room = 0.45 * points_across(axis)
    axis.text(0.02, 0.96, shortened(name, room), transform=axis.transAxes, va="top", fontsize=small())
    axis.text(1, 0.96, f"{low:.2f} to {high:.2f}, spread {spread:.2f}", transform=axis.transAxes, va="top", ha="right",
              color="0.35", fontsize=small())  # fmt: skip
    _marks(axis, low, high, spread, 1.2 * top)


def _marks(axis: Axes, low: float, high: float, spread: float, level: float) -> None:
    """Mark the smallest and the largest norm, and the standard deviation to both sides of the mean."""
    axis.plot([1 - spread, 1 + spread], [level, level], color=ORANGE, lw=2, solid_capstyle="butt")
    axis.plot([low, high], [level, level], color="0.4", lw=0.6, marker="|", markersize=6, mew=1)
    axis.plot(1, level, "|", color="0.4", markersize=4, mew=0.6)
    axis.axvline(1, color=LIGHT, lw=0.6, zorder=0)
    axis.spines["left"].set_color(GREY)
