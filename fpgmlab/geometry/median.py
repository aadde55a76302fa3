"""The exact geometric median: Weiszfeld's iteration, right at the data points too."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fpgmlab.geometry.distances import as_points

_PATIENCE = 30  # iterations of Weiszfeld before Newton is tried
_INNER = 50  # conjugate gradient steps for one step of Newton
_NEAR = 1e-6  # squared distances below this share of the squared lengths are computed again, from the differences


@dataclass(frozen=True, eq=False)
class GeometricMedian:
    """The point with the least sum of euclidean distances to a set of points.

    Attributes
    ----------
    point : Tensor, (dim,)
        float64.
    distances : Tensor, (n,)
        From each given point to it, float64.
    iterations : int
        Of Weiszfeld and Newton together.
    converged : bool
        Whether the tolerance was reached.
    """

    point: Tensor
    distances: Tensor
    iterations: int
    converged: bool


def geometric_median(points: Tensor, *, tolerance: float = 1e-10, max_iterations: int = 1000) -> GeometricMedian:
    """Return the exact geometric median: the minimiser of the sum of euclidean distances.

    Weiszfeld's iteration (Tôhoku Math. J. 43, 1937, in English doi:10.1007/s10479-008-0352-z) from the mean. An iterate
    on a data point is treated as by Vardi & Zhang (PNAS 97, 2000, doi:10.1073/pnas.97.4.1423): it is either the median,
    which is proved by their condition, or left in the direction of descent. Where the iteration is slow, steps of
    Newton's method take over as long as they lower the sum.

    Parameters
    ----------
    points : Tensor, (n, dim)
        Of any floating type, on any device.
    tolerance : float
        Bound on the estimated distance to the true median, relative to the mean distance of the points to it.
    max_iterations : int

    Returns
    -------
    GeometricMedian
        Where the median is not unique (an even number of points on a line), one of them.

    Raises
    ------
    ValueError
        For points that are not floating numbers (n, dim), or not finite.

    Examples
    --------
    >>> points = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [1.0, 1.0]])
    >>> found = fl.geometry.geometric_median(points)
    >>> found.point.round(decimals=6), found.converged
    (tensor([1., 1.], dtype=torch.float64), True)
    """
    points = as_points(points)
    if points.ndim != 2:
        raise ValueError(f"points must be (n, dim); got {tuple(points.shape)}")
    middle = points.mean(dim=0)
    points = points - middle  # short vectors lose fewer digits
    norms = points.square().sum(dim=1)
    x, step = torch.zeros_like(middle), 0.0
    known: set[int] = set()  # data points that are not the median
    for iteration in range(1, max_iterations + 1):
        d = _distances(points, norms, x)
        scale, nearest = float(d.mean()), int(d.argmin())
        if scale == 0:
            return GeometricMedian(x + middle, d, iteration - 1, True)
        if float(d[nearest]) < 0.5 * scale and nearest not in known:
            known.add(nearest)
            if _is_median(points, nearest):
                x = points[nearest]
                return GeometricMedian(x + middle, (points - x).norm(dim=1), iteration, True)
        target: Tensor | None = None
        if float(d[nearest]) <= 1e-13 * scale:
            target = _leave(points, nearest)
        elif iteration > _PATIENCE:
            target = _newton(points, x, d)
        if target is None:
            target = (1 / d) @ points / (1 / d).sum()
        last, step, x = step, float((target - x).norm()), target
        # Steps that shrink at a rate q have at most step * q / (1 - q) still to go.
        rate = min(0.999, step / last) if last else 0.999
        if step * rate / (1 - rate) <= tolerance * scale:
            return GeometricMedian(x + middle, _distances(points, norms, x), iteration, True)
    return GeometricMedian(x + middle, _distances(points, norms, x), max_iterations, False)


def _distances(points: Tensor, norms: Tensor, x: Tensor) -> Tensor:
    """Return the distances from (n, dim) to x: one matrix-vector product, the close ones from their differences."""
    level = norms + x.dot(x)
    squares = torch.addmv(level, points, x, alpha=-2)
    close = (squares <= _NEAR * level).nonzero().squeeze(1)
    d = squares.clamp_(min=0).sqrt_()
    if len(close):
        d[close] = (points[close] - x).norm(dim=1)
    return d


def _pull(points: Tensor, index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sum of unit vectors from a data point to the others, their weights (0 for twins), how many twins."""
    differences = points - points[index]
    d = differences.norm(dim=1)
    weights = torch.where(d == 0, 0.0, 1 / d)
    return weights @ differences, weights, (d == 0).sum()


def _is_median(points: Tensor, index: int) -> bool:
    """Tell whether a data point is the median: Vardi & Zhang's condition."""
    pull, _, twins = _pull(points, index)
    return float(pull.norm()) <= float(twins) * (1 + 1e-12)


def _leave(points: Tensor, index: int) -> Tensor:
    """Return Vardi & Zhang's next iterate from a data point that is not the median."""
    pull, weights, twins = _pull(points, index)
    stay = float(twins / pull.norm())
    return (1 - stay) * (weights @ points / weights.sum()) + stay * points[index]


def _newton(points: Tensor, x: Tensor, d: Tensor) -> Tensor | None:
    """Return Newton's next iterate, its system solved by conjugate gradients; None when it would not descend."""
    units = (x - points) / d.unsqueeze(1)  # (n, dim)
    weights = 1 / d
    total = weights.sum()
    residual = -units.sum(dim=0)
    move, direction = torch.zeros_like(x), residual
    square = first = residual.dot(residual)
    for _ in range(min(len(x), _INNER)):
        if square <= 1e-24 * first:
            break
        curved = total * direction - (weights * (units @ direction)) @ units
        bend = direction.dot(curved)
        if bend <= 0:
            break
        length = square / bend
        move = move + length * direction
        residual = residual - length * curved
        square, before = residual.dot(residual), square
        direction = residual + (square / before) * direction
    target = x + move
    return target if float((points - target).norm(dim=1).sum()) < float(d.sum()) else None
