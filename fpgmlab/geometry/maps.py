"""Maps: points of many dimensions in a plane, for pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fpgmlab.geometry.distances import as_points


@dataclass(frozen=True, eq=False)
class PCA:
    """Principal components of a set of points.

    Attributes
    ----------
    coordinates : Tensor, (n, dims)
        Of the given points.
    components : Tensor, (dims, dim)
        Orthonormal rows; zeros where the points span fewer dimensions.
    mean : Tensor, (dim,)
    shares : Tensor, (dims,)
        Of the total variance.
    """

    coordinates: Tensor
    components: Tensor
    mean: Tensor
    shares: Tensor

    def project(self, points: Tensor) -> Tensor:
        """Return the coordinates (n, dims) of further points (n, dim)."""
        return (as_points(points) - self.mean) @ self.components.T


def pca(points: Tensor, dims: int = 2) -> PCA:
    """Return the principal components of points, the sign of each such that its largest coordinate is positive.

    After Pearson (Phil. Mag. 2, 1901, doi:10.1080/14786440109462720), by eigenvectors of the smaller of the two
    matrices of products.

    Parameters
    ----------
    points : Tensor, (n, dim)
    dims : int

    Examples
    --------
    >>> points = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [1.0, 1.0]])
    >>> found = fl.geometry.pca(points)
    >>> found.coordinates.shape, round(float(found.shares.sum()), 6)
    (torch.Size([4, 2]), 1.0)
    """
    points = as_points(points)
    mean = points.mean(dim=0)
    centred = points - mean
    n, dim = centred.shape
    total = centred.square().sum()
    if n <= dim:  # the smaller of the two symmetric matrices
        values, vectors = _leading(centred @ centred.T, dims)
        components = _normalised(vectors.T @ centred)
    else:
        values, vectors = _leading(centred.T @ centred, dims)
        components = torch.where(values.unsqueeze(1) > 0, vectors.T, 0.0)
    components = torch.cat([components, components.new_zeros(dims - len(components), dim)])
    components = components * _signs(centred @ components.T).unsqueeze(1)
    coordinates = centred @ components.T
    shares = coordinates.square().sum(dim=0) / total if total > 0 else coordinates.new_zeros(dims)
    return PCA(coordinates, components, mean, shares)


def classical_mds(distances: Tensor, dims: int = 2) -> tuple[Tensor, Tensor]:
    """Place points in a plane so that their euclidean distances come close to the given ones.

    After Torgerson (Psychometrika 17, 1952, doi:10.1007/BF02288916). For euclidean distances it equals `pca`; for
    others the share tells how faithful the picture is.

    Parameters
    ----------
    distances : Tensor, (n, n)
        Symmetric, 0 on the diagonal.
    dims : int

    Returns
    -------
    coordinates : Tensor, (n, dims)
        The sign of each column is such that its largest entry is positive.
    shares : Tensor, (dims,)
        Of the sum of the absolute eigenvalues.

    Raises
    ------
    ValueError
        For distances that are not (n, n).
    """
    distances = as_points(distances)
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1]:
        raise ValueError(f"distances must be (n, n); got {tuple(distances.shape)}")
    squares = distances.square()
    centred = -0.5 * (squares - squares.mean(0) - squares.mean(1, keepdim=True) + squares.mean())
    every = torch.linalg.eigvalsh(centred).abs().sum()
    values, vectors = _leading(centred, dims)
    coordinates = vectors * values.sqrt()
    coordinates = torch.cat([coordinates, coordinates.new_zeros(len(distances), dims - coordinates.shape[1])], dim=1)
    shares = torch.cat([values, values.new_zeros(dims - len(values))]) / every.clamp_min(torch.finfo(every.dtype).tiny)
    return coordinates * _signs(coordinates), shares


def _leading(matrix: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues of a symmetric matrix, not below 0, and their vectors as columns."""
    values, vectors = torch.linalg.eigh(matrix)
    values, vectors = values.flip(0)[:dims], vectors.flip(1)[:, :dims]
    noise = 1e-12 * values.abs().max()
    return torch.where(values > noise, values, 0.0), vectors


def _normalised(rows: Tensor) -> Tensor:
    lengths = rows.norm(dim=1, keepdim=True)
    small = lengths <= 1e-6 * lengths.max()
    return torch.where(small, 0.0, rows / torch.where(small, 1.0, lengths))


def _signs(columns: Tensor) -> Tensor:
    """Return +1 or -1 for each column, so that times it the entry of largest size is positive; of ties the first."""
    size = columns.abs()
    # A hair of slack: entries of equal size shall not be told apart by rounding.
    first = (size >= size.amax(dim=0) * (1 - 1e-9)).int().argmax(dim=0)
    return torch.where(columns.gather(0, first.unsqueeze(0)).squeeze(0) < 0, -1.0, 1.0)
