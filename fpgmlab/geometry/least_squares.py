"""Least squares from equations that are gathered in parts and solved at the end, with a ridge."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fpgmlab.geometry.moments import Moments
from fpgmlab.geometry.rows import Rows

RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # relative to the mean diagonal; the search starts at `USUAL`
USUAL = 1e-3
ROUNDING = 1e-13  # of a mean square in float64: variances below are none

Equations = Rows | Moments


@dataclass(frozen=True, eq=False)
class Fit:
    """A solution: ``weight`` (systems, features, targets) and ``offset`` (systems, targets)."""

    weight: Tensor
    offset: Tensor

    def error(self, equations: Equations) -> Tensor:
        """Return the sum of the squared errors of each target, (systems, targets)."""
        return equations.error(self.weight, self.offset)


class Solver:
    """Solves equations with one left side, of whatever targets, with a ridge towards weights that are there.

    Minimises ``|a w + b - y|^2 + ridge * d * |w - start|^2`` over w and b, with d the mean diagonal of the features'
    second moments (about their means where there is an offset).

    Parameters
    ----------
    equations : Moments or Rows
        Their left sides are factored: in float64, with a row for each feature, or for each equation where these are
        fewer.
    ridge : float
        >= 0.
    offset : bool
        Whether there is a constant beside the weights.
    """

    def __init__(self, equations: Equations, ridge: float, offset: bool = True) -> None:
        self._equations, self._offset = equations, offset
        whole = equations.squares(about_mean=False)
        level = equations.squares(about_mean=True) if offset else whole
        # What varies by no more than rounding, as after a layer norm of one channel, is constant: weights stay.
        strength = torch.where(level > ROUNDING * whole, ridge * level, whole)
        strength = strength.clamp_min(torch.finfo(torch.float64).tiny)
        left = equations.gram(offset).clone()
        left.diagonal(dim1=1, dim2=2).add_(strength.unsqueeze(1))
        self._factor, failed = torch.linalg.cholesky_ex(left)
        # Equations about their mean depend on each other, which rounding hides where there is no ridge.
        singular = bool(failed.any()) or (isinstance(equations, Rows) and ridge < ROUNDING)
        self._inverse = _pseudo_inverse(left) if singular else None

    def solve(self, equations: Equations, start: Tensor) -> Fit:
        """Return the solution for equations of the same left side, in float64.

        Parameters
        ----------
        equations : Moments or Rows
        start : Tensor, (systems, features, targets)
            What the ridge draws towards. Directions of which the equations tell nothing keep it.
        """
        start = start.double()
        weight = start + self._equations.step(equations, start, self._offset, self._solved)  # type: ignore[arg-type]
        b = torch.zeros_like(equations.y)
        if self._offset:
            b = (equations.y - (self._equations.a.unsqueeze(1) @ weight).squeeze(1)) / equations.count
        return Fit(weight, b)

    def _solved(self, right: Tensor) -> Tensor:
        return torch.cholesky_solve(right, self._factor) if self._inverse is None else self._inverse @ right


def _pseudo_inverse(matrices: Tensor) -> Tensor:
    """Return the inverse of symmetric matrices where they have one, zero where not."""
    values, vectors = torch.linalg.eigh(matrices)
    least = values[:, -1:].clamp_min(0) * matrices.shape[-1] * torch.finfo(torch.float64).eps
    inverse = torch.where(values > least, 1 / values, 0.0)
    return (vectors * inverse.unsqueeze(1)) @ vectors.transpose(1, 2)


def solve(equations: Equations, start: Tensor, ridge: float, offset: bool = True) -> Fit:
    """Return the least squares solution with a ridge towards weights that are there; see `Solver`."""
    return Solver(equations, ridge, offset).solve(equations, start)


def best_ridge(
    equations: Equations, held: Equations, start: Tensor, offset: bool, importance: Tensor
) -> tuple[float, Solver, Fit]:
    """Return the ridge of the least error on held-out equations, with its solver and solution.

    Each ridge costs one factorisation of the features' moments; the neighbours of the best so far are tried until none
    is better.

    Parameters
    ----------
    equations, held : Moments or Rows
        To solve, and to judge.
    start, offset
        As for `Solver`.
    importance : Tensor, (systems, targets)
        Factors of the squared errors.
    """
    tried: dict[int, tuple[float, Solver, Fit]] = {}

    def error(i: int) -> float:
        if i not in tried:
            solver = Solver(equations, RIDGES[i], offset)
            fit = solver.solve(equations, start)
            tried[i] = (float((fit.error(held) * importance).sum()), solver, fit)
        return tried[i][0]

    best = RIDGES.index(USUAL)
    while True:
        found = min((i for i in (best, best - 1, best + 1) if 0 <= i < len(RIDGES)), key=error)
        if found == best:
            return RIDGES[best], *tried[best][1:]
        best = found
