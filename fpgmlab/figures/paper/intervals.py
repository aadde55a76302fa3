"""Intervals of means and of shares."""

from __future__ import annotations

import numpy as np
from scipy.stats import t


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a mean, by Student's t; NaN of fewer than two values.

    Examples
    --------
    >>> low, high = interval(np.array([0.92, 0.93, 0.94]))
    >>> round(low, 3), round(high, 3)
    (0.905, 0.955)
    """
    count = len(values)
    if count < 2:
        return float("nan"), float("nan")
    half = float(t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return float(values.mean()) - half, float(values.mean()) + half


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a share of so many pictures (Wilson, JASA 22, 1927)."""
    z2 = 1.959964**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = 1.959964 / (1 + z2 / count) * np.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return float(middle - half), float(middle + half)
