"""The geometry of filters, seen as points.

In: arrays and tensors (points, dimensions). Out: distances, their sums, the geometric median, the medoid, maps in a
plane, orders. No networks here.
"""

from fpgmlab.geometry.clustering import clustered_order
from fpgmlab.geometry.distances import DISTANCES, distance_sums, pairwise_distances
from fpgmlab.geometry.maps import PCA, classical_mds, pca
from fpgmlab.geometry.median import GeometricMedian, geometric_median
from fpgmlab.geometry.removal import greedy_order, medoid

__all__ = [
    "DISTANCES",
    "PCA",
    "GeometricMedian",
    "classical_mds",
    "clustered_order",
    "distance_sums",
    "geometric_median",
    "greedy_order",
    "medoid",
    "pairwise_distances",
    "pca",
]
