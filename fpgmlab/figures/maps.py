"""Filters as points in a plane."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fpgmlab.errors import one_of
from fpgmlab.figures.parts import legend_above, mark, text_places, text_width
from fpgmlab.figures.style import BLUE, RED, Style, new_figure, small
from fpgmlab.geometry import classical_mds, geometric_median, medoid, pairwise_distances, pca
from fpgmlab.geometry.distances import Distance

METHODS = ("pca", "mds")
_NUMBERED = 40


def filter_map(
    points: Tensor,
    removed: Collection[int] = (),
    *,
    distance: Distance = "euclidean",
    method: str = "pca",
    style: Style | None = None,
) -> Figure:
    """Show filters as points in a plane, with the exact geometric median and the medoid.

    The plane shows a part of the distances only; the axes say how much of the variance lies along them.

    Parameters
    ----------
    points : Tensor, (filters, ...)
        The filters, flattened to vectors here.
    removed : collection of int
        Numbers of the removed filters.
    distance : {"euclidean", "l1", "cosine"} or float
        Of the medoid, and of the map by ``"mds"``. The geometric median is that of euclidean distances: with others
        it is left out.
    method : {"pca", "mds"}
        Principal components, or classical scaling of the distances.
    style : mapping, optional
        From `fpgmlab.figures.style`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        For an unknown method, and points that are not (filters, ...) of at least one filter.
    """
    if method not in METHODS:
        raise ValueError(one_of("method", method, METHODS))
    if not isinstance(points, Tensor) or points.ndim < 2 or len(points) == 0:
        found = tuple(points.shape) if isinstance(points, Tensor) else type(points).__name__
        raise ValueError(f"points must be a tensor (filters, ...) of at least one filter; got {found}")
    vectors = points.detach().flatten(1).to("cpu", torch.float64)
    places, median, shares = _plane(vectors, distance, method)
    middle = medoid(vectors, distance)
    gone = np.isin(np.arange(len(places)), list(removed))
    size = float(np.clip(900 / len(places), 6, 22))
    with new_figure(4.6, 4.1, style) as figure:
        axis = figure.subplots()
        axis.scatter(places[~gone, 0], places[~gone, 1], s=size, color=BLUE, linewidths=0, zorder=3)
        axis.scatter(places[gone, 0], places[gone, 1], s=1.3 * size, color=RED, marker="x", linewidths=1.1, zorder=3)
        axis.plot(*places[middle], "D", color="none", markeredgecolor="black", markersize=8, mew=1, zorder=4)
        handles = [mark(f"kept ({(~gone).sum()})", BLUE, markersize=4)]
        if gone.any():
            handles.append(mark(f"removed ({gone.sum()})", RED, "x", markersize=5))
        if median is not None:
            axis.plot(*median, "+", color="black", markersize=11, mew=1.3, zorder=5)
            handles.append(mark("geometric median", "black", "+", markersize=8, mew=1.2))
        handles.append(mark("medoid", "none", "D", mec="black", markersize=5))
        legend_above(figure, handles)
        what = "the variance" if method == "pca" else "the eigenvalues"
        kind = "principal component" if method == "pca" else "coordinate"
        first, second = (f"{share:.0%} of {what}" for share in shares)
        axis.set(xlabel=f"first {kind} ({first})", ylabel=f"second {kind} ({second})")
        axis.set_aspect("equal", adjustable="datalim")
        axis.margins(0.09)
        axis.locator_params(nbins=6)
        if len(places) <= _NUMBERED:
            figure.draw_without_rendering()  # the scale is known only now
            marked = places if median is None else np.vstack([places, median])
            to_points = 72 / figure.dpi
            spots = axis.transData.transform(marked) * to_points
            sizes = np.array([(text_width(str(i)), 0.75 * small()) for i in range(len(places))])
            radius = np.full(len(marked), 2.7)
            radius[middle] = radius[len(places) :] = 5.0
            where = text_places(spots, sizes, axis.bbox.get_points() * to_points, radius)
            for i, (spot, text) in enumerate(zip(spots, where, strict=False)):
                far = np.linalg.norm(text - spot) > 2.2 * small()
                shade = RED if gone[i] else "0.35"
                line = {"arrowstyle": "-", "lw": 0.4, "color": shade, "shrinkA": 0, "shrinkB": 2}
                axis.annotate(
                    f"{i}", places[i], text - spot, textcoords="offset points", ha="center", va="center_baseline",
                    fontsize=small(), color=shade, arrowprops=line if far else None,
                )  # fmt: skip
    return figure


def _plane(vectors: Tensor, distance: Distance, method: str) -> tuple[np.ndarray, np.ndarray | None, list[float]]:
    """Return the filters' places (n, 2), the geometric median's, and what share of all the two axes show."""
    center = geometric_median(vectors).point if distance == "euclidean" else None
    if method == "pca":
        found = pca(vectors)
        median = None if center is None else found.project(center.unsqueeze(0))[0].numpy()
        return found.coordinates.numpy(), median, found.shares.tolist()
    between = pairwise_distances(vectors, distance)
    places, shares = classical_mds(between)
    median = None
    if center is not None:
        # Gower's formula: a further point in the scaling, from its distances to all others.
        squares = pairwise_distances(center.unsqueeze(0), others=vectors)[0].square()
        lengths = places.square().sum(dim=0)
        offset = (between.square().mean(dim=0) - squares) @ places / 2
        median = torch.where(lengths > 0, offset / lengths.clamp_min(1e-300), 0.0).numpy()
    return places.numpy(), median, shares.tolist()
