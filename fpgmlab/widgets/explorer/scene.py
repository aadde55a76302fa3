"""What one sees of a group's filters whatever the criterion: their distances, neighbours, map and pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fpgmlab.criteria.points import filters_of, kernel_of
from fpgmlab.geometry import clustered_order, geometric_median, pairwise_distances, pca
from fpgmlab.geometry.distances import Distance
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.layer import Layer
from fpgmlab.widgets.explorer.tiles import filter_pictures

NEIGHBOURS = 5
MATRIX_SIDE = 512  # a larger matrix is shown as means of its blocks
_EXACT = 2e8  # filters² x weights up to which distances are taken from differences; above, from a matrix product
_OPTIMAL = 128  # filters up to which the leaves of the clustering are ordered optimally


@dataclass(frozen=True, eq=False)
class FilterScene:
    """The filters of a group's first producer, as points and as pictures.

    Attributes
    ----------
    group, layer : str
        The channel group, and its first producer, whose filters these are.
    shape : tuple of int
        Of one filter: ``(inputs, *kernel)``.
    word : str
        What each one is: ``"filter"``, or ``"head"`` where several filters only go together, which are one point then.
    filters, channels : array, (n,)
        Each filter's number in its layer, and its channel's number in the group: the same unless a group joins the
        channels of several layers side by side. Of heads both are the number in the group.
    members : array, (n, filters of each)
        The numbers in the layer of all filters of each.
    distance : str or float
        Between filters.
    order : array, (n,)
        Clustered: similar filters stand side by side.
    matrix : array, (side, side)
        uint8: the distances in that order, from ``low`` (0) to ``high`` (255); means of blocks for many filters.
    low, high : float
        The least and the largest distance between two filters.
    coordinates : array, (n, 2)
        float32: principal components.
    median : array, (2,)
        The geometric median in the same plane.
    medoid : int
        Its place among the filters.
    shares : array, (2,)
        Of the variance, that each component has.
    neighbours, neighbour_distances : array, (n, up to 5)
        The nearest filters, by place, and how far they are.
    pictures : array, (n, height, width, 4)
        uint8 RGBA.
    pictures_show : str
        What the pictures show, in words.
    """

    group: str
    layer: str
    shape: tuple[int, ...]
    word: str
    filters: np.ndarray
    channels: np.ndarray
    members: np.ndarray
    distance: Distance
    order: np.ndarray
    matrix: np.ndarray
    low: float
    high: float
    coordinates: np.ndarray
    median: np.ndarray
    medoid: int
    shares: np.ndarray
    neighbours: np.ndarray
    neighbour_distances: np.ndarray
    pictures: np.ndarray
    pictures_show: str

    def __len__(self) -> int:
        return len(self.filters)


def filter_scene(graph: ChannelGraph, group: str, distance: Distance = "euclidean") -> FilterScene:
    """Return what one sees of a group's filters.

    Parameters
    ----------
    graph : ChannelGraph
    group : str
    distance
        Between filters, as in `fpgmlab.geometry.pairwise_distances`.

    Raises
    ------
    ValueError
        For NaN or infinite weights.
    """
    name = graph[group].producers[0]
    modules = dict(graph.model.named_modules())
    layer = producer_of(graph, group)
    members, channels = shown(graph, group)
    points = filters_of(layer, modules)[torch.from_numpy(members)].flatten(1).cpu()  # (n, filters of each * dim)
    word = "filter" if members.shape[1] == 1 else graph[group].unit_name or "unit"
    kernel = kernel_of(layer, modules)
    shape = (points.shape[1] // math.prod(kernel), *kernel)
    between = _distances(points, distance)
    order = clustered_order(between, optimal=len(between) <= _OPTIMAL)
    low, high = _range(between)
    plane = pca(points)
    near, how_far = _nearest(points, between, distance)
    pictures, words = filter_pictures(points.numpy(), shape)
    return FilterScene(
        group, name, shape, word, members[:, 0] if word == "filter" else channels, channels, members, distance, order,
        _picture(between, order, low, high), low, high,
        plane.coordinates.float().numpy(), plane.project(geometric_median(points).point.unsqueeze(0))[0].numpy(),
        int(between.sum(axis=1).argmin()), plane.shares.numpy(), near, how_far, pictures, words,
    )  # fmt: skip


def producer_of(graph: ChannelGraph, group: str) -> Layer:
    """Return a group's first producer."""
    return next(layer for layer in graph.layers if layer.name == graph[group].producers[0] and len(layer.outputs))


def shown(graph: ChannelGraph, group: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which filters of a group's first producer make its channels, (n, filters of each), and which channels."""
    outputs = producer_of(graph, group).outputs
    where = graph.channels_of(group)
    numbers = np.flatnonzero((outputs >= where.start) & (outputs < where.stop))
    channels = outputs[numbers] - where.start
    _, first, counts = np.unique(channels, return_index=True, return_counts=True)
    first.sort()
    if graph[group].unit > 1 and len(set(counts.tolist())) == 1:
        return np.stack([numbers[channels == channel] for channel in channels[first]]), channels[first]
    return numbers[first, None], channels[first]  # where several filters make one channel otherwise, the first


def _distances(points: Tensor, distance: Distance) -> np.ndarray:
    n, dim = points.shape
    if distance != "euclidean" or n * n * dim <= _EXACT:
        return pairwise_distances(points, distance).numpy()
    # Exact to about 1e-8 of the filters' norm: enough to be seen. The neighbours' distances are taken anew.
    centred = points - points.mean(dim=0)
    norms = centred.square().sum(dim=1)
    squares = torch.addmm(norms[:, None] + norms, centred, centred.T, alpha=-2).clamp_(min=0)
    return squares.fill_diagonal_(0).sqrt_().numpy()


def _range(between: np.ndarray) -> tuple[float, float]:
    if len(between) < 2:
        return 0.0, 0.0
    off = between[~np.eye(len(between), dtype=bool)]
    return float(off.min()), float(off.max())


def _picture(between: np.ndarray, order: np.ndarray, low: float, high: float) -> np.ndarray:
    side = min(len(order), MATRIX_SIDE)
    starts = np.arange(side) * len(order) // side
    counts = np.diff([*starts, len(order)])
    # Rows are added up one block at a time: the full matrix is read once.
    rows = np.add.reduceat(between[order], starts, axis=0)[:, order]
    means = np.add.reduceat(rows, starts, axis=1) / np.outer(counts, counts)
    return np.clip((means - low) / ((high - low) or 1.0) * 255, 0, 255).round().astype(np.uint8)


def _nearest(points: Tensor, between: np.ndarray, distance: Distance) -> tuple[np.ndarray, np.ndarray]:
    n = len(points)
    count = min(NEIGHBOURS, n - 1)
    others = between.copy()
    np.fill_diagonal(others, np.inf)
    near = np.argsort(others, axis=1, kind="stable")[:, :count]  # (n, count)
    exact = np.empty(near.shape)
    for i, row in enumerate(near):
        if count:
            exact[i] = pairwise_distances(points[i : i + 1], distance, others=points[row]).numpy()[0]
    again = np.argsort(exact, axis=1, kind="stable")
    return np.take_along_axis(near, again, 1), np.take_along_axis(exact, again, 1)
