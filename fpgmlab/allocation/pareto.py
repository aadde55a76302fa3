"""Which plans no other one beats."""

from __future__ import annotations

import numpy as np


def pareto_front(cost: np.ndarray, value: np.ndarray, higher_is_better: bool = True) -> np.ndarray:
    """Return which points no other one beats.

    None costs at most as much and is at least as good, and one of the two really better.

    Parameters
    ----------
    cost, value : array, (n,)
        Finite numbers. Less cost is better.
    higher_is_better : bool
        Of the values.

    Returns
    -------
    ndarray, (n,)
        bool; of equal points all or none.

    Raises
    ------
    ValueError
        For numbers that are not finite, or not as many of both.

    Examples
    --------
    >>> import numpy as np
    >>> fl.allocation.pareto_front(np.array([1, 2, 3]), np.array([0.8, 0.9, 0.85]))
    array([ True,  True, False])
    """
    cost, value = np.asarray(cost, float), np.asarray(value, float)
    if cost.ndim != 1 or cost.shape != value.shape or not (np.isfinite(cost).all() and np.isfinite(value).all()):
        raise ValueError(f"cost and value must be (n,) finite numbers each; got {cost.shape}, {value.shape}")
    gain = value if higher_is_better else -value
    order = np.lexsort((-gain, cost))  # by cost, the best of one cost first
    best, best_cost = -np.inf, np.nan
    front = np.zeros(len(cost), bool)
    for i in order:
        front[i] = gain[i] > best or (gain[i] == best and cost[i] == best_cost)
        if gain[i] > best:
            best, best_cost = gain[i], cost[i]
    return front
