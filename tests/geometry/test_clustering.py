"""Clustered orders: all are there, clusters stand together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from fpgmlab.geometry import clustered_order, pairwise_distances


def distances(n: int) -> torch.Tensor:
    return pairwise_distances(torch.randn(n, 36, generator=torch.Generator().manual_seed(n)))


@pytest.mark.parametrize("n", [1, 2, 3, 17])
def test_clustered_order_is_an_order(n: int):
    assert sorted(clustered_order(distances(n))) == list(range(n))
    assert sorted(clustered_order(np.zeros((n, n)))) == list(range(n))


def test_clusters_stand_together():
    points = np.random.default_rng(0).normal(size=(30, 5)) + 20 * (np.arange(30) % 3)[:, None]
    order = clustered_order(cdist(points, points)) % 3
    assert np.count_nonzero(np.diff(order)) == 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((2, 3)), r"must be \(n, n\).* got \(2, 3\)"),
        (np.zeros((0, 0)), r"n >= 1; got \(0, 0\)"),
        (np.full((2, 2), np.nan), "4 of the distances are NaN"),
        (np.array([[0.0, 1.0], [2.0, 0.0]]), "symmetric"),
    ],
)
def test_what_is_no_distance_matrix(bad: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        clustered_order(bad)
