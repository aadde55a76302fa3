"""Distances between all filters of a layer, in clustered order."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from fpgmlab.figures.parts import legend_above, mark, text_width
from fpgmlab.figures.style import RED, Style, new_figure, small
from fpgmlab.geometry.clustering import as_distances, cluster_tree, leaves

_NUMBERED = 40  # filters up to which each has its number at the sides


def distance_matrix(
    distances: Tensor | np.ndarray,
    removed: Collection[int] = (),
    label: str = "euclidean distance",
    *,
    style: Style | None = None,
) -> Figure:
    """Show the distances between all filters in clustered order, with the tree of the clusters above.

    Parameters
    ----------
    distances : Tensor or ndarray, (n, n)
        As from `fpgmlab.geometry.pairwise_distances`; a few thousand filters at most.
    removed : collection of int
        Numbers of the removed filters: red ticks at the right.
    label : str
        What the distance is.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        As `fpgmlab.figures.clustered_order`.
    """
    matrix = as_distances(distances)
    tree = cluster_tree(matrix)
    order = leaves(tree)
    gone = np.flatnonzero(np.isin(order, list(removed)))
    with new_figure(4.6, lambda width, text: 0.86 * width + 2 * text, style) as figure:
        axis = figure.subplots()
        top = float(matrix.max()) or 1.0
        image = axis.imshow(matrix[np.ix_(order, order)], cmap="viridis", vmin=0, vmax=top, rasterized=True)
        axis.set(xlabel="filter, in clustered order", ylabel="filter, in clustered order")
        axis.spines[:].set_visible(False)
        if len(order) <= _NUMBERED:
            cell = 0.66 * figure.get_figwidth() * 72 / len(order)  # its side, in points
            for each in (axis.xaxis, axis.yaxis):
                _number(each, order, crowded=cell < 1.15 * small())
            if cell < 1.2 * text_width(str(max(order))):
                axis.tick_params(axis="x", which="both", rotation=90)
        else:
            axis.set(xticks=[], yticks=[])
            axis.set_xlabel(f"{len(order)} filters, in clustered order")
        _draw_tree(axis.inset_axes((0, 1.01, 1, 0.13)), tree, order)
        if len(gone):
            right = np.tile([1.012, 1.042], (len(gone), 1))
            ticks = np.stack([right, np.column_stack([gone, gone])], axis=2)
            thick = min(2.5, max(0.3, 0.45 * 0.66 * figure.get_figwidth() * 72 / len(order)))
            side = axis.get_yaxis_transform()
            axis.add_collection(LineCollection([*ticks], colors=RED, linewidths=thick, transform=side, clip_on=False))
            legend_above(figure, [mark(f"removed ({len(gone)} of {len(order)})", RED, "_", markersize=6, mew=2)])
        # Inset, like the tree: beside a square the layout would leave it a width that its label does not fit.
        bar = figure.colorbar(image, cax=axis.inset_axes((1.08, 0.1, 0.03, 0.8)), label=label)
        bar.outline.set_visible(False)
    return figure


def _draw_tree(axis: Axes, tree: np.ndarray, order: np.ndarray) -> None:
    """Draw the tree over its leaves, one bracket for each merge; scipy's own drawing recurses too deep for chains."""
    n = len(order)
    place, height = np.zeros(n + len(tree)), np.zeros(n + len(tree))
    place[order] = np.arange(n)
    brackets = np.zeros((len(tree), 4, 2))
    for i, (a, b, distance, _) in enumerate(tree):
        a, b = int(a), int(b)
        x, y = (place[a], place[a], place[b], place[b]), (height[a], distance, distance, height[b])
        brackets[i] = np.column_stack([x, y])
        place[n + i], height[n + i] = (place[a] + place[b]) / 2, distance
    axis.add_collection(
        LineCollection([*brackets], colors="0.35", linewidths=0.6 if n <= 100 else 0.3, rasterized=n > 500)
    )
    axis.set(xlim=(-0.5, n - 0.5), ylim=(0, 1.05 * (float(height.max()) or 1.0)))
    axis.set_axis_off()


def _number(axis: Axis, order: np.ndarray, crowded: bool) -> None:
    """Put the filters' numbers at their ticks; where they are crowded every second one further out."""
    if not crowded:
        axis.set_ticks(np.arange(len(order)), order)
    else:
        axis.set_ticks(np.arange(0, len(order), 2), order[::2])
        axis.set_ticks(np.arange(1, len(order), 2), order[1::2], minor=True)
        axis.set_tick_params(which="minor", pad=2 + 1.5 * small(), labelsize=small())
    axis.set_tick_params(which="both", length=0)
