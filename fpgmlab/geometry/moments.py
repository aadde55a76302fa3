"""Second moments of equations: sums that are gathered in parts, however many equations there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

BLOCK = 54  # features that are multiplied at once, at least


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
        aa = torch.baddbmm(aa, torch.stack([a0, da + n * a0], 2), torch.stack([da, a0], 1))  # the shift, in one go
        ay = ay + outer(a0, dy) + outer(da, y0) + n * outer(a0, y0)
        return cls(n, da + n * a0, dy + n * y0, aa, ay, yy + 2 * y0 * dy + n * y0 * y0)

    def __add__(self, other: Moments) -> Moments:
        if not isinstance(other, Moments):
            return NotImplemented
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
        return Moments(n, self.a, y + n * y0, self.aa, ay + outer(self.a, y0), yy + 2 * y0 * y + n * y0 * y0)

    def finite(self) -> bool:
        """Tell whether all sums are numbers."""
        # No product is larger than the squares of what it is of.
        squares = (self.aa.diagonal(dim1=1, dim2=2), self.yy)
        return all(bool(torch.isfinite(part).all()) for part in squares)

    def error(self, weight: Tensor, offset: Tensor) -> Tensor:
        """Return the sum of the squared errors of each target, (systems, targets); arguments as in `Fit`."""
        w, b = weight, offset
        aw = (self.a.unsqueeze(1) @ w).squeeze(1)
        quadratic = (w * (self.aa @ w)).sum(1) - 2 * (w * self.ay).sum(1)
        return quadratic + self.yy + 2 * b * (aw - self.y) + self.count * b * b

    def squares(self, about_mean: bool) -> Tensor:
        """Return the mean over the features of the sum of their squares, (systems,)."""
        return self.gram(about_mean).diagonal(dim1=1, dim2=2).mean(1)

    def gram(self, about_mean: bool) -> Tensor:
        """Return the matrix that is factored: products of the features, perhaps about their means."""
        return self._centred if about_mean else self.aa

    def step(self, targets: Moments, start: Tensor, offset: bool, solve: Callable[[Tensor], Tensor]) -> Tensor:
        """Return how far the solution lies from ``start``, (systems, features, targets).

        Parameters
        ----------
        targets : Moments
            With this left side.
        start : Tensor, (systems, features, targets)
        offset : bool
            Whether there is a constant beside the weights.
        solve : callable
            Of the factored `gram`.
        """
        ay = targets.ay - outer(self.a, targets.y) / self.count if offset else targets.ay
        return solve(ay - self.gram(offset) @ start)

    @cached_property
    def _centred(self) -> Tensor:
        return torch.baddbmm(self.aa, self.a.unsqueeze(2), self.a.unsqueeze(1), alpha=-1 / self.count)


def outer(left: Tensor, right: Tensor) -> Tensor:
    """Return the products of all with all, of each system."""
    return left.unsqueeze(2) * right.unsqueeze(1)


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
