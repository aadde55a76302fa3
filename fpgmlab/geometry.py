"""The geometry of filters: arrays in, arrays out."""

from __future__ import annotations

import torch
from torch import Tensor


def pairwise_distances(points: Tensor) -> Tensor:
    """Return the euclidean distances between points, computed in float64.

    ``torch.cdist``'s faster mode goes through a matrix product, in which close points lose all their digits.

    Parameters
    ----------
    points : Tensor, (n, dim)

    Returns
    -------
    Tensor, (n, n)
        float64, symmetric, exactly 0 on the diagonal and between identical points.
    """
    points = points.to(torch.float64)
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")


def distance_sums(points: Tensor) -> Tensor:
    """Return the sum of distances from each point to all others, (n,) float64.

    The quantity of FPGM: He et al., "Filter Pruning via Geometric Median", CVPR 2019, eq. 6-8. The points with the
    smallest sums lie nearest to the geometric median.
    """
    return pairwise_distances(points).sum(dim=1)
