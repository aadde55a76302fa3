"""FPGM, exactly, and as others have it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fpgmlab.criteria.rules import Criterion
from fpgmlab.errors import one_of
from fpgmlab.geometry import distance_sums, geometric_median, greedy_order, medoid, pairwise_distances
from fpgmlab.geometry.distances import Distance, minkowski_order

CENTERS = ("sum", "median", "medoid", "greedy")
IMPLEMENTATIONS = ("paper", "torch-pruning", "nni", "paddleslim", "medoid-tutorial")


@dataclass(frozen=True)
class FPGM(Criterion):
    """Filter pruning via the geometric median (He et al., CVPR 2019): the filters that others can replace go first.

    Parameters
    ----------
    distance : {"euclidean", "l1", "cosine"} or float
        Between filters; a number is Minkowski's order.
    center : {"sum", "median", "medoid", "greedy"}
        ``"sum"``: the sum of distances to all other filters, the paper's eq. 6-8. ``"median"``: the distance to
        the exact geometric median of eq. 4. ``"medoid"``: the distance to the filter with the least sum.
        ``"greedy"``: the place in the order of removal when the sums are taken anew after each.
    as_implemented_by : {"paper", "torch-pruning", "nni", "paddleslim", "medoid-tutorial"}, optional
        Rank as that implementation does. The paper's code, NNI and PaddleSlim use the sum. torch-pruning 1.6 squares
        the weights first, so that w and -w are the same to it, and averages over all layers that make
        or read the channels. ``"medoid-tutorial"`` is the medoid, common in tutorials.

    Raises
    ------
    ValueError
        For an unknown option, or options that exclude each other.

    Examples
    --------
    >>> fl.criteria.FPGM()(torch.eye(3))
    tensor([2.8284, 2.8284, 2.8284], dtype=torch.float64)
    >>> fl.criteria.FPGM(center="median").label
    'FPGM(center=median)'
    """

    distance: Distance = "euclidean"
    center: str = "sum"
    as_implemented_by: str | None = None

    def __post_init__(self) -> None:
        minkowski_order(self.distance)
        if self.center not in CENTERS:
            raise ValueError(one_of("center", self.center, CENTERS))
        if self.center == "median" and self.distance != "euclidean":
            raise ValueError(f"the geometric median is that of euclidean distances; not of distance={self.distance!r}")
        if self.as_implemented_by is None:
            return
        if self.as_implemented_by not in IMPLEMENTATIONS:
            raise ValueError(one_of("as_implemented_by", self.as_implemented_by, IMPLEMENTATIONS))
        if (self.distance, self.center) != ("euclidean", "sum"):
            raise ValueError(
                f"as_implemented_by={self.as_implemented_by!r} fixes distance and center; leave them out "
                f"(got distance={self.distance!r}, center={self.center!r})"
            )

    @property
    def consumers(self) -> bool:
        """Only torch-pruning looks at them."""
        return self.as_implemented_by == "torch-pruning"

    @property
    def reduce(self) -> str:
        """The mean in torch-pruning."""
        return "mean" if self.as_implemented_by == "torch-pruning" else "root"

    def scores(self, filters: Tensor) -> Tensor:
        if self.as_implemented_by == "torch-pruning":
            return distance_sums(filters.square())
        center = "medoid" if self.as_implemented_by == "medoid-tutorial" else self.center
        if center == "sum":
            return distance_sums(filters, self.distance)
        if center == "median":
            return geometric_median(filters).distances
        if center == "medoid":
            at = medoid(filters, self.distance)
            return pairwise_distances(filters, self.distance, others=filters[at : at + 1]).squeeze(1)
        order = greedy_order(filters, self.distance).to(filters.device)
        return torch.argsort(order).to(torch.float64)  # the place of each filter in the order


@dataclass(frozen=True)
class FPGMMix(Criterion):
    """The paper's mix: the smallest norms go first, then FPGM among the survivors (He et al., CVPR 2019, section 4.2).

    The scores are places in the order of removal. At a ratio of ``norm_ratio + distance_ratio`` the removed set
    is the paper's; a larger ratio goes on by FPGM, a smaller one removes less by FPGM or even by the norm.

    Parameters
    ----------
    norm_ratio : float
        Share of the filters removed by their euclidean norm.
    distance_ratio : float
        Share removed by the sum of distances to the other survivors.

    Raises
    ------
    ValueError
        For shares below 0, or that are together 1 or more.

    Examples
    --------
    >>> mix = fl.criteria.FPGMMix(norm_ratio=0.2)
    >>> mix.label, len(fl.score(graph, mix)["conv1"])
    ('FPGMMix(norm_ratio=0.2)', 16)
    """

    norm_ratio: float = 0.1
    distance_ratio: float = 0.3

    def __post_init__(self) -> None:
        if not (self.norm_ratio >= 0 and self.distance_ratio >= 0 and self.ratio < 1):
            raise ValueError(
                "norm_ratio and distance_ratio must be >= 0 and their sum below 1; "
                f"got {self.norm_ratio} and {self.distance_ratio}"
            )

    @property
    def ratio(self) -> float:
        """The share that both remove together."""
        return self.norm_ratio + self.distance_ratio

    def scores(self, filters: Tensor) -> Tensor:
        norms = filters.norm(dim=1)
        order = torch.argsort(norms, stable=True)
        small, survivors = order.tensor_split([round(self.norm_ratio * len(filters))])
        scores = torch.empty_like(norms)
        scores[small] = _places(norms[small])
        if len(survivors):
            survivors = survivors.sort().values
            scores[survivors] = len(small) + _places(distance_sums(filters[survivors]))
        return scores


def _places(values: Tensor) -> Tensor:
    """Return how many values are lower than each: equal values have equal places."""
    return torch.searchsorted(values.sort().values, values).to(torch.float64)
