"""Which point to remove first: the medoid, and the greedy order."""

from __future__ import annotations

import torch
from torch import Tensor

from fpgmlab.geometry.distances import Distance, distance_sums, pairwise_distances


def medoid(points: Tensor, distance: Distance = "euclidean") -> int:
    """Return the number of the point with the least sum of distances to all others; of ties the first.

    Parameters
    ----------
    points : Tensor, (n, dim)
    distance
        As in `pairwise_distances`.

    Examples
    --------
    >>> points = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [1.0, 1.0]])
    >>> fl.geometry.medoid(points)
    3
    """
    return int(distance_sums(points, distance).argmin())


def greedy_order(points: Tensor, distance: Distance = "euclidean") -> Tensor:
    """Return the order in which points go when the sums of distances are taken anew after each removal.

    Each time the point nearest to what is *still there* goes; of ties the first. As the members of a large cluster go,
    the middle of what is left moves away from it, so that fewer of them go than by the plain sums.

    Parameters
    ----------
    points : Tensor, (n, dim)
    distance
        As in `pairwise_distances`.

    Returns
    -------
    Tensor, (n,)
        int64: the number of the point that goes first, second, ...

    Examples
    --------
    >>> points = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [1.0, 1.0]])
    >>> fl.geometry.greedy_order(points)
    tensor([3, 0, 1, 2])
    """
    between = pairwise_distances(points, distance)
    sums = between.sum(dim=1)
    order = []
    for _ in range(len(sums)):
        first = int(sums.argmin())
        order.append(first)
        sums = sums - between[first]
        sums[order] = torch.inf
    return torch.tensor(order)
