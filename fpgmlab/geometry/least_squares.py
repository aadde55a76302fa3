"""Least squares from second moments: sums over equations that are gathered in parts and solved at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # relative to the mean diagonal; the search starts at `USUAL`
USUAL = 1e-3
BLOCK = 54  # features that are multiplied at once, at least
ROUNDING = 1e-13  # of a mean square in float64: variances below are none


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over equations ``a @ w + b = y``, of several independent systems of one size side by side.

    Attributes
    ----------
    count : int
        How many equations.
    a, y : Tensor, (systems, features), (systems, targets)
        Sums of both sides.
    aa, ay : Tensor, (systems, features, features), (systems, features, targets)
        Sums of their products.
    yy : Tensor, (systems, targets)
        Sums of the squared targets.
    """

    count: int
    a: Tensor
    y: Tensor
    aa: Tensor
    ay: Tensor
    yy: Tensor

    @classmethod
    def of(cls, a: Tensor, y: Tensor, exact: bool = False) -> Moments:
        """Return the sums of some equations, in float64.

        Parameters
        ----------
        a, y : Tensor, (systems, equations, features), (systems, equations, targets)
        exact : bool
            Multiply in float64 as well; else in the precision that the equations have, in parts.
        """
        if exact:
            a, y = a.double(), y.double()
        # About a point among them: products of what is far from zero would lose digits.
        a0, y0 = _near(a), _near(y)
        a, y, n = a - a0, y - y0, a.shape[1]
        sums = (a.sum(1), y.sum(1), _gram(a), a.transpose(1, 2) @ y, (y * y).sum(1))
        da, dy, aa, ay, yy = (part.double() for part in sums)
        a0, y0 = a0.squeeze(1).double(), y0.squeeze(1).double()
        aa = aa + _outer(a0, da) + _outer(da, a0) + n * _outer(a0, a0)
        ay = ay + _outer(a0, dy) + _outer(da, y0) + n * _outer(a0, y0)
        return cls(n, da + n * a0, dy + n * y0, aa, ay, yy + 2 * y0 * dy + n * y0 * y0)

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count, self.a + other.a, self.y + other.y, self.aa + other.aa, self.ay + other.ay,
            self.yy + other.yy,
        )  # fmt: skip

    def with_targets(self, parts: Iterable[tuple[Tensor, Tensor]], exact: bool = False) -> Moments:
        """Return the sums of the same equations with other targets.

        Parameters
        ----------
        parts : iterable of (a, y)
            The equations, as in `of`, all of them.
        exact : bool
            Multiply in float64.
        """
        y, ay, yy = torch.zeros_like(self.y), torch.zeros_like(self.ay), torch.zeros_like(self.yy)
        y0 = None
        for rows, made in parts:
            rows, made = (rows.double(), made.double()) if exact else (rows, made)
            y0 = _near(made) if y0 is None else y0  # one for all: their sum of `a` is known
            made = made - y0
            y += made.sum(1).double()
            ay += (rows.transpose(1, 2) @ made).double()
            yy += (made * made).sum(1).double()
        if y0 is None:
            return Moments(self.count, self.a, y, self.aa, ay, yy)
        y0, n = y0.squeeze(1).double(), self.count
        return Moments(n, self.a, y + n * y0, self.aa, ay + _outer(self.a, y0), yy + 2 * y0 * y + n * y0 * y0)

    def finite(self) -> bool:
        """Tell whether all sums are numbers."""
        return all(bool(torch.isfinite(part).all()) for part in (self.aa, self.ay, self.yy))


def _gram(a: Tensor) -> Tensor:
    """Return the products of all features with all, (systems, features, features); not all are computed twice."""
    at, features = a.transpose(1, 2), a.shape[2]
    if features < 2 * BLOCK:
        return at @ a
    size = max(BLOCK, -(-features // 4))
    found = a.new_empty(len(a), features, features)
    for first in range(0, features, size):
        last = first + size
        found[:, first:last, first:] = at[:, first:last] @ a[:, :, first:]
        found[:, last:, first:last] = found[:, first:last, last:].transpose(1, 2)
    return found


def _near(values: Tensor) -> Tensor:
    """Return a point near the values of each system, (systems, 1, dim)."""
    return values[:, :64].sum(1, keepdim=True) / max(1, min(64, values.shape[1]))


def _outer(left: Tensor, right: Tensor) -> Tensor:
    return left.unsqueeze(2) * right.unsqueeze(1)


@dataclass(frozen=True, eq=False)
class Fit:
    """A solution: ``weight`` (systems, features, targets) and ``offset`` (systems, targets)."""

    weight: Tensor
    offset: Tensor

    def error(self, moments: Moments) -> Tensor:
        """Return the sum of the squared errors of each target, (systems, targets)."""
        w, b = self.weight, self.offset
        aw = (moments.a.unsqueeze(1) @ w).squeeze(1)
        quadratic = (w * (moments.aa @ w)).sum(1) - 2 * (w * moments.ay).sum(1)
        return quadratic + moments.yy + 2 * b * (aw - moments.y) + moments.count * b * b


class Solver:
    """Solves equations with one left side, of whatever targets, with a ridge towards weights that are there.

    Minimises ``|a w + b - y|^2 + ridge * d * |w - start|^2`` over w and b, with d the mean diagonal of the features'
    second moments (about their means where there is an offset).

    Parameters
    ----------
    moments : Moments
        Their left sides are factored.
    ridge : float
        >= 0.
    offset : bool
        Whether there is a constant beside the weights.
    """

    def __init__(self, moments: Moments, ridge: float, offset: bool = True) -> None:
        self._offset = offset
        self._aa = moments.aa - _outer(moments.a, moments.a) / moments.count if offset else moments.aa
        diagonal = self._aa.diagonal(dim1=1, dim2=2)
        level, whole = diagonal.mean(1), moments.aa.diagonal(dim1=1, dim2=2).mean(1)
        # What varies by no more than rounding, as after a layer norm of one channel, is constant: weights stay.
        strength = torch.where(level > ROUNDING * whole, ridge * level, whole)
        strength = strength.clamp_min(torch.finfo(torch.float64).tiny)
        left = self._aa + torch.diag_embed(strength.unsqueeze(1).expand_as(diagonal))
        self._factor, failed = torch.linalg.cholesky_ex(left)
        self._inverse = _pseudo_inverse(left) if bool(failed.any()) else None

    def solve(self, moments: Moments, start: Tensor) -> Fit:
        """Return the solution for equations of the same left side, in float64.

        Parameters
        ----------
        moments : Moments
        start : Tensor, (systems, features, targets)
            What the ridge draws towards. Directions of which the equations tell nothing keep it.
        """
        start, ay = start.double(), moments.ay
        if self._offset:
            ay = ay - _outer(moments.a, moments.y) / moments.count
        right = ay - self._aa @ start
        step = torch.cholesky_solve(right, self._factor) if self._inverse is None else self._inverse @ right
        weight = start + step
        b = torch.zeros_like(moments.y)
        if self._offset:
            b = (moments.y - (moments.a.unsqueeze(1) @ weight).squeeze(1)) / moments.count
        return Fit(weight, b)


def _pseudo_inverse(matrices: Tensor) -> Tensor:
    """Return the inverse of symmetric matrices where they have one, zero where not."""
    values, vectors = torch.linalg.eigh(matrices)
    least = values[:, -1:].clamp_min(0) * matrices.shape[-1] * torch.finfo(torch.float64).eps
    inverse = torch.where(values > least, 1 / values, 0.0)
    return (vectors * inverse.unsqueeze(1)) @ vectors.transpose(1, 2)


def solve(moments: Moments, start: Tensor, ridge: float, offset: bool = True) -> Fit:
    """Return the least squares solution with a ridge towards weights that are there; see `Solver`."""
    return Solver(moments, ridge, offset).solve(moments, start)


def best_ridge(
    moments: Moments, held: Moments, start: Tensor, offset: bool, importance: Tensor
) -> tuple[float, Solver, Fit]:
    """Return the ridge of the least error on held-out equations, with its solver and solution.

    Each ridge costs one factorisation of the features' moments; the neighbours of the best so far are tried until none
    is better.

    Parameters
    ----------
    moments, held : Moments
        To solve, and to judge.
    start, offset
        As for `Solver`.
    importance : Tensor, (systems, targets)
        Factors of the squared errors.
    """
    tried: dict[int, tuple[Solver, Fit]] = {}

    def error(i: int) -> float:
        if i not in tried:
            solver = Solver(moments, RIDGES[i], offset)
            tried[i] = (solver, solver.solve(moments, start))
        return float((tried[i][1].error(held) * importance).sum())

    best = RIDGES.index(USUAL)
    while True:
        found = min((i for i in (best, best - 1, best + 1) if 0 <= i < len(RIDGES)), key=error)
        if found == best:
            return (RIDGES[best], *tried[best])
        best = found
