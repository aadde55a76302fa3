"""Distances between points, and their sums."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from fpgmlab.errors import one_of

DISTANCES = ("euclidean", "l1", "cosine")
Distance = str | float

_SMALL = 2**18  # n² dim up to which differences are quicker than a matrix product
_MANY, _LARGE = 256, 2**25  # n, and n² dim, from which a first pass in float32 pays
_ROWS = 128  # of a block of distances: stays in a core's cache
_ERROR = 1e-7  # of a sum of the first pass, relative: several times what is found
_SAMPLE = 16  # rows on which it is measured
_GATHER = 2**22  # numbers gathered at a time to recompute close pairs
# Squared distances below this share of the squared norms have lost too many digits in a matrix product.
_CLOSE = {torch.float32: 1e-3, torch.float64: 1e-5}


def pairwise_distances(points: Tensor, distance: Distance = "euclidean", *, others: Tensor | None = None) -> Tensor:
    """Return the distances between points, computed in float64 without cancellation.

    ``torch.cdist``'s faster mode goes through a matrix product, in which close points lose all their digits.

    Parameters
    ----------
    points : Tensor, (..., n, dim)
        Of any floating type, on any device.
    distance : {"euclidean", "l1", "cosine"} or float
        A number p >= 1 is Minkowski's distance of that order. ``"cosine"`` is one minus the cosine of the angle; a
        vector of zeros is at 1 from every other vector, and at 0 from another of zeros.
    others : Tensor, (..., m, dim), optional
        To which; to the points themselves when left out.

    Returns
    -------
    Tensor, (..., n, m)
        float64; exactly 0 between identical points.

    Raises
    ------
    ValueError
        For points that are not floating numbers in at least two dimensions or not finite, or an unknown distance.

    Examples
    --------
    >>> fl.geometry.pairwise_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    tensor([[0., 5.],
            [5., 0.]], dtype=torch.float64)
    """
    points, order = as_points(points), minkowski_order(distance)
    others = points if others is None else as_points(others)
    if order is not None:
        return torch.cdist(points, others, p=order, compute_mode="donot_use_mm_for_euclid_dist")
    (here, zero_here), (there, zero_there) = _unit(points), _unit(others)
    # On the unit sphere 1 - cos = chord² / 2: no digits are lost between nearly parallel vectors.
    chords = torch.cdist(here, there, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.where(zero_here.unsqueeze(-1) ^ zero_there.unsqueeze(-2), 1.0, chords.square() / 2)


def distance_sums(points: Tensor, distance: Distance = "euclidean") -> Tensor:
    """Return the sum of distances from each point to all others.

    The quantity of FPGM: He et al., "Filter Pruning via Geometric Median", CVPR 2019, eq. 6-8. The points with the
    smallest sums lie nearest to the geometric median. Euclidean sums go through matrix products, block by block, so
    that no (n, n) matrix is ever held; pairs too close for that are computed again from their differences. Many points
    are summed in float32 first, and again in float64 wherever the order is not certain: their sums are good to 1e-7
    and ordered as in float64.

    Parameters
    ----------
    points, distance
        As in `pairwise_distances`.

    Returns
    -------
    Tensor, (..., n)
        float64. Identical points have exactly the same sum.

    Raises
    ------
    ValueError
        As `pairwise_distances`.

    Examples
    --------
    >>> points = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [1.0, 1.0]])
    >>> fl.geometry.distance_sums(points, "l1")
    tensor([10., 16., 16., 10.], dtype=torch.float64)
    """
    if minkowski_order(distance) != 2:
        return pairwise_distances(points, distance).sum(dim=-1)
    points = _checked(points)
    if points.ndim == 2:
        return _euclidean_sums(points)
    flat = points.reshape(-1, *points.shape[-2:])
    return torch.stack([_euclidean_sums(batch) for batch in flat]).reshape(points.shape[:-1])


def as_points(points: Tensor) -> Tensor:
    """Return points as float64, on the CPU where their device has no such type.

    Raises
    ------
    ValueError
        When they are not floating numbers, (..., n, dim) with n >= 1, or not all finite.
    """
    return _checked(points).to(torch.float64)


def _checked(points: Tensor) -> Tensor:
    if not isinstance(points, Tensor) or not points.is_floating_point() or points.ndim < 2:
        found = f"{points.dtype} {tuple(points.shape)}" if isinstance(points, Tensor) else type(points).__name__
        raise ValueError(f"points must be a floating tensor (..., n, dim); got {found}")
    if points.shape[-2] == 0:
        raise ValueError(f"points must be at least one; got {tuple(points.shape)}")
    points = points.detach()
    points = points.cpu() if points.device.type == "mps" else points
    if not torch.isfinite(points.sum()):  # one quick pass: NaN and infinity stay in a sum
        bad = ~torch.isfinite(points).all(dim=-1)
        if bool(bad.any()):
            raise ValueError(f"{int(bad.sum())} of {bad.numel()} points are NaN or infinite")
    return points


def minkowski_order(distance: Distance) -> float | None:
    """Return Minkowski's p of a distance, None for the cosine distance.

    Raises
    ------
    ValueError
        For an unknown distance.
    """
    if distance == "cosine":
        return None
    named = {"euclidean": 2.0, "l1": 1.0}
    if isinstance(distance, str) and distance in named:
        return named[distance]
    if isinstance(distance, (int, float)) and not isinstance(distance, bool) and distance >= 1:
        return float(distance)
    raise ValueError(one_of("distance", distance, DISTANCES, "a number >= 1"))


def _unit(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the directions (..., n, dim) and which points are zero (..., n)."""
    # The largest entry first: the squares of tiny or huge numbers leave float64.
    size = points.abs().amax(dim=-1, keepdim=True)
    zero = size == 0
    scaled = points / torch.where(zero, 1.0, size)
    return scaled / scaled.norm(dim=-1, keepdim=True).clamp_min(1.0), zero.squeeze(-1)


def _euclidean_sums(points: Tensor) -> Tensor:
    n, dim = points.shape
    if n * n * dim <= _SMALL:
        return pairwise_distances(points).sum(dim=1)
    exact = points.to(torch.float64)
    lengths = torch.linalg.vector_norm(exact, dim=1)
    mean = exact.mean(dim=0)
    if 10 * mean.norm() > lengths.square().mean().sqrt():
        exact = points = exact - mean  # short vectors lose fewer digits
        lengths = torch.linalg.vector_norm(exact, dim=1)
    # The squares of tiny and huge numbers leave float32.
    if n < _MANY or n * n * dim < _LARGE or not 1e-15 < lengths.max() < 1e15:
        return _tie(*_gram_sums(exact, exact, lengths))
    sums, same = _gram_sums(points.to(torch.float32), exact, lengths)
    # Where neighbours in the order are closer than twice the error, both are summed again, and a sample of the others,
    # on which the error is measured.
    order = sums.argsort()
    unsure = sums[order].diff() <= 2 * _ERROR * sums.max()
    again = pad(unsure, (1, 0)) | pad(unsure, (0, 1))
    again[torch.linspace(0, n - 1, _SAMPLE, device=points.device).round().long()] = True
    again = order[again]
    if len(again) <= n // 2:
        sure = _row_sums(exact, lengths, again)
        if (sums[again] - sure).abs().max() <= _ERROR / 3 * sums.max():
            sums[again] = sure
            return _tie(sums, same)
    return _tie(*_gram_sums(exact, exact, lengths))


def _gram_sums(points: Tensor, exact: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the sums by matrix products in the points' precision, and the pairs that are identical, (k, 2) each."""
    n = len(points)
    norms = lengths.square().to(points.dtype)
    sums = exact.new_zeros(n)
    same: list[Tensor] = []
    for start in range(0, n, _ROWS):
        stop = min(start + _ROWS, n)
        # d² = |a|² + |b|² - 2ab, of these rows with themselves and all later points: the rest is the mirror image.
        level = norms[start:stop, None] + norms[start:]  # (rows, n - start)
        squares = level.addmm_(points[start:stop], points[start:].T, alpha=-2)
        squares.diagonal().fill_(torch.inf)
        close = _close(squares, norms[start:stop, None])
        squares.diagonal().zero_()
        root = squares.sqrt_()
        if close is not None:
            same += _recompute(root, close, exact, start)
        sums[start:stop] += root.sum(dim=1, dtype=sums.dtype)
        sums[stop:] += root[:, stop - start :].sum(dim=0, dtype=sums.dtype)
    return sums, same


def _row_sums(points: Tensor, lengths: Tensor, rows: Tensor) -> Tensor:
    """Return the sums of some points, by matrix products in float64."""
    norms = lengths.square()
    sums = [norms.new_zeros(0)]
    for part in rows.split(_ROWS):
        itself = torch.arange(len(part), device=part.device), part
        squares = (norms[part, None] + norms).addmm_(points[part], points.T, alpha=-2)
        squares[itself] = torch.inf
        close = _close(squares, norms[part, None])
        squares[itself] = 0
        root = squares.sqrt_()
        if close is not None:
            i, j = close.unbind(dim=1)
            root[i, j] = _exact(points, part[i], j)
        sums.append(root.sum(dim=1))
    return torch.cat(sums)


def _close(squares: Tensor, norms: Tensor) -> Tensor | None:
    """Return which squared distances (rows, n) have lost their digits, (k, 2), by squared norms (rows, 1); or None."""
    share = _CLOSE[squares.dtype]
    if bool(squares.amin() > share * norms.max()):
        return None  # one quick pass, as nearly always
    return (squares <= share * norms).nonzero()


def _recompute(root: Tensor, close: Tensor, points: Tensor, start: int) -> list[Tensor]:
    """Put exact distances of close pairs into ``root`` (rows, n - start); return the identical pairs, (k, 2) each."""
    i, j = close.unbind(dim=1)
    exact = _exact(points, start + i, start + j)
    root[i, j] = exact.to(root.dtype)
    return [start + close[(exact == 0) & (i < j)]]


def _exact(points: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Return the distances between points i and j, (pairs,) each, from their differences."""
    many = max(1, _GATHER // points.shape[1])
    parts = zip(i.split(many), j.split(many), strict=True)
    return torch.cat([(points[a] - points[b]).norm(dim=1) for a, b in parts])


def _tie(sums: Tensor, same: list[Tensor]) -> Tensor:
    """Give identical points the sum of the first of them: the order of additions must not break a tie."""
    pairs = torch.cat(same) if same else torch.zeros(0, 2, dtype=torch.long)
    if len(pairs) == 0:
        return sums
    first = torch.arange(len(sums), device=sums.device)
    return sums[first.scatter_reduce(0, pairs[:, 1], pairs[:, 0], "amin")]
