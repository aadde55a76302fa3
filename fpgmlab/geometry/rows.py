"""Equations as they are, as long as there are fewer of them than features: smaller and quicker than their moments."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from fpgmlab.geometry.moments import Moments


@dataclass(frozen=True, eq=False)
class Rows:
    """Equations ``a @ w + b = y``, of several independent systems of one size side by side; no more than features.

    What `Moments` tells is told here by the equations themselves. The matrix to factor has a row for each equation
    instead of one for each feature: the ridge solution is ``start + a.T @ inv(a @ a.T + strength) @ (y - a @ start)``
    (Saunders, Gammerman & Vovk, *Ridge regression learning algorithm in dual variables*, ICML 1998).

    Attributes
    ----------
    parts : tuple of (a, y)
        (systems, equations, features) and (systems, equations, targets) of each.
    exact : bool
        Whether `moments` multiplies in float64; what is solved here always is.
    """

    parts: tuple[tuple[Tensor, Tensor], ...]
    exact: bool = False

    @property
    def count(self) -> int:
        """How many equations."""
        return sum(a.shape[1] for a, _ in self.parts)

    @cached_property
    def y(self) -> Tensor:
        """Sum of the targets, (systems, targets)."""
        return self._targets.sum(1)

    @cached_property
    def yy(self) -> Tensor:
        """Sum of the squared targets, (systems, targets)."""
        return self._targets.square().sum(1)

    def moments(self) -> Moments:
        """Return their sums."""
        return functools.reduce(operator.add, [Moments.of(a, y, self.exact) for a, y in self.parts])

    def __add__(self, other: Rows | Moments) -> Rows | Moments:
        if isinstance(other, Moments):
            return self.moments() + other
        if self.count + other.count <= self.parts[0][0].shape[2]:
            return Rows(self.parts + other.parts, self.exact)
        return self.moments() + other.moments()

    def __radd__(self, other: Moments) -> Moments:
        return other + self.moments()

    def with_targets(self, parts: Iterable[tuple[Tensor, Tensor]]) -> Rows:
        """Return the same equations with other targets: all of them, in their order."""
        return Rows(tuple(parts), self.exact)

    def finite(self) -> bool:
        """Tell whether all are numbers."""
        return all(bool(torch.isfinite(side).all()) for part in self.parts for side in part)

    def error(self, weight: Tensor, offset: Tensor) -> Tensor:
        """Return the sum of the squared errors of each target, (systems, targets); arguments as in `Fit`."""
        return (self._features @ weight + offset.unsqueeze(1) - self._targets).square().sum(1)

    def squares(self, about_mean: bool) -> Tensor:
        """Return the mean over the features of the sum of their squares, (systems,)."""
        return self._left(about_mean).square().sum((1, 2)) / self._features.shape[2]

    def gram(self, about_mean: bool) -> Tensor:
        """Return the matrix that is factored: products of the equations, perhaps of features about their means."""
        if about_mean not in self._grams:
            left = self._left(about_mean)
            self._grams[about_mean] = left @ left.transpose(1, 2)
        return self._grams[about_mean]

    def step(self, targets: Rows, start: Tensor, offset: bool, solve: Callable[[Tensor], Tensor]) -> Tensor:
        """Return how far the solution lies from ``start``; as `Moments.step`."""
        wanted = targets._targets - self._features @ start
        if offset:
            wanted = wanted - wanted.mean(1, keepdim=True)
        return self._left(offset).transpose(1, 2) @ solve(wanted)

    @property
    def a(self) -> Tensor:
        """Sum of the features, (systems, features)."""
        return self._features.sum(1)

    @cached_property
    def _features(self) -> Tensor:
        return torch.cat([a for a, _ in self.parts], 1).double()

    @cached_property
    def _targets(self) -> Tensor:
        return torch.cat([y for _, y in self.parts], 1).double()

    def _left(self, about_mean: bool) -> Tensor:
        return self._features - self._mean if about_mean else self._features

    @cached_property
    def _mean(self) -> Tensor:
        return self._features.mean(1, keepdim=True)

    @cached_property
    def _grams(self) -> dict[bool, Tensor]:
        return {}


def gathered(a: Tensor, y: Tensor, exact: bool = False) -> Rows | Moments:
    """Return equations in the form that is smaller and quicker to solve; see `Moments.of`."""
    return Rows(((a, y),), exact) if a.shape[1] <= a.shape[2] else Moments.of(a, y, exact)
