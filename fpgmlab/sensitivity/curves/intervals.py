"""Means and confidence intervals that grow by the batch, paired with the unpruned network's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

Z = 1.959963984540054  # of 95 %
SPARE = 1.15  # a point that is looked at after every batch ends in a lucky moment: its 97.6 % interval must be narrow


class Sums(Protocol):
    """What is kept of a metric, for a point or the unpruned network: it grows by the batch and gives an interval."""

    @property
    def samples(self) -> int:
        """How many samples are in it."""

    @property
    def mean(self) -> float:
        """The metric on these samples."""

    @property
    def reference(self) -> float:
        """The unpruned network's metric on the same samples."""

    def __add__(self, other: Self) -> Self:
        """Return what is known of the samples of both."""

    def interval(self, binary: bool = False) -> tuple[float, float, float]:
        """Return the metric and the ends of its 95 % interval; ``binary`` for values 0 and 1 of each sample."""


@dataclass(frozen=True)
class Paired:
    """Sums over samples of a value, of the unpruned network's, and of their difference: all that an interval needs.

    Attributes
    ----------
    samples : int
    value, base, square : float
        Sums of the pruned network's values, of the unpruned one's, and of the squared differences.
    """

    samples: int = 0
    value: float = 0.0
    base: float = 0.0
    square: float = 0.0

    def __add__(self, other: Paired) -> Paired:
        return Paired(
            self.samples + other.samples,
            self.value + other.value,
            self.base + other.base,
            self.square + other.square,
        )

    @property
    def mean(self) -> float:
        """The mean value."""
        return self.value / self.samples

    @property
    def reference(self) -> float:
        """The unpruned network's mean value on the same samples."""
        return self.base / self.samples

    @classmethod
    def of(cls, values: Tensor, base: Tensor) -> Paired:
        """Return the sums of one batch, (samples,) each."""
        values, base = values.detach().double(), base.detach().double()
        return cls(len(values), float(values.sum()), float(base.sum()), float((values - base).square().sum()))

    def interval(self, binary: bool = False) -> tuple[float, float, float]:
        """Return the mean value and the ends of its 95 % interval.

        The interval is that of the mean difference to the unpruned network on the same samples, put at the unpruned
        network's mean: what both get wrong alike does not widen it.

        Parameters
        ----------
        binary : bool
            For values 0 and 1: half a sample of each of the four outcomes is added (Agresti & Min, *Statistics
            in Medicine* 24, 2005), so that no difference in a few samples is not taken for certainty.
        """
        n, difference, square = self.samples, self.value - self.base, self.square
        if binary:
            n, square = n + 2, square + 1
        if n < 2:
            return self.value / self.samples, -math.inf, math.inf
        mean = difference / n
        deviation = math.sqrt(max(0.0, square / n - mean**2) / (n if binary else n - 1))
        middle, half = self.base / self.samples + mean, Z * deviation
        low, high = middle - half, middle + half
        value = self.value / self.samples
        if binary:
            low, high = max(0.0, low), min(1.0, high)
        return value, min(low, value), max(high, value)


def within(values: Sequence[float], share: bool) -> tuple[float, ...]:
    """Return a value and the ends of its interval; of a share (a fraction, from 0 to 1) no end lies beyond 0 and 1.

    Infinite ends, of which nothing is known, stay.
    """
    return tuple(min(1.0, max(0.0, each)) if share and math.isfinite(each) else each for each in values)


def is_narrow(low: float, high: float, tolerance: float) -> bool:
    """Tell whether an interval is so narrow that its point may end; also for arrays of intervals."""
    return SPARE * (high - low) / 2 <= tolerance


def kl_divergence(outputs: Tensor, base: Tensor) -> Tensor:
    """Return KL(unpruned || pruned) of the class probabilities, in nats, (samples,)."""
    log_base = torch.log_softmax(base.float(), dim=1)
    log_outputs = torch.log_softmax(outputs.float(), dim=1)
    return (log_base.exp() * (log_base - log_outputs)).sum(dim=1)
