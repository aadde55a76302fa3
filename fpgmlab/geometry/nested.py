"""Least squares on ever fewer features: what those that stay can take over, for all of their numbers at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fpgmlab.geometry.least_squares import USUAL


def nested_fits(gram: Tensor, start: Tensor, counts: Sequence[int], ridge: float = USUAL) -> list[Tensor]:
    """Return for each count the weights by which the first so many features give best what all of them gave.

    With S the features that stay, R the others and k the ridge, that is ``W_S + (G_SS + k I)^-1 G_SR W_R``, the least
    squares solution with a ridge towards the weights that are there. One Cholesky factor L of ``G + k I`` serves all
    counts: its leading block factors ``G_SS + k I``, and ``G_SR`` is a product of its blocks, so that there remains one
    triangular solve, ``W_S + L_SS^-T L_RS^T W_R``.

    Parameters
    ----------
    gram : Tensor, (systems, features, features)
        Sums of products of the features, in the order in which they stay: the first are there the longest. About their
        means where an offset makes up for these.
    start : Tensor, (systems, features, targets)
        The weights of all features.
    counts : sequence of int
        How many features stay, each 0 <= count <= features.
    ridge : float
        Relative to the mean diagonal of all features; > 0.

    Returns
    -------
    list of Tensor, (systems, count, targets) each
        In float64. Features that are always 0 leave the others' weights as they are.
    """
    start = start.double()
    factor = _factor(gram.double(), ridge)
    found = []
    for count in counts:
        stay, gone = factor[:, :count, :count], factor[:, count:, :count]
        taken_over = gone.transpose(1, 2) @ start[:, count:]
        found.append(start[:, :count] + torch.linalg.solve_triangular(stay.transpose(1, 2), taken_over, upper=True))
    return found


def _factor(gram: Tensor, ridge: float) -> Tensor:
    """Return the Cholesky factor of moments with a ridge; a larger one where rounding has left no positive matrix."""
    if not ridge > 0:
        raise ValueError(f"ridge must be > 0, relative to the mean diagonal; got {ridge}")
    if not bool(torch.isfinite(gram).all()):
        raise ValueError("the features' moments must be finite numbers")
    diagonal = gram.diagonal(dim1=1, dim2=2)
    strength = ridge * diagonal.mean(1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)  # (systems, 1)
    while True:
        factor, failed = torch.linalg.cholesky_ex(gram + torch.diag_embed(strength.expand_as(diagonal)))
        if not bool(failed.any()):
            return factor
        strength = torch.where((failed > 0).unsqueeze(1), 10 * strength, strength)
