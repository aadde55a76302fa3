"""Ties: what one metric does not tell apart, a finer one does, before the cost alone decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fpgmlab.allocation.degradation import Degradation
from fpgmlab.allocation.problem import Problem


def told_apart(problem: Problem, finer: Mapping[str, Degradation]) -> tuple[Problem, Problem] | None:
    """Return a problem by a finer metric alone, and one by both: the finer one counts less than any step of the first.

    Parameters
    ----------
    problem : Problem
        By the first metric.
    finer : mapping of str to Degradation
        Of groups by name; of others, such as locked ones, nothing is told apart.

    Returns
    -------
    (Problem, Problem) or None
        None where there are no ties: no removal that the first metric calls harmless.
    """
    if not any((harm[1:] <= 0).any() for harm in problem.degradations):
        return None
    tables = tuple(
        finer[name].at(kept) if name in finer and len(kept) > 1 else np.zeros(len(kept))
        for name, kept in zip(problem.names, problem.kept, strict=True)
    )
    most = sum(float(table.max()) for table in tables)
    if not most:
        return None
    steps = np.concatenate([np.diff(harm) for harm in problem.degradations])
    weight = 0.1 * steps[steps > 1e-9].min(initial=1.0) / most
    both = tuple(harm + weight * table for harm, table in zip(problem.degradations, tables, strict=True))
    return replace(problem, degradations=tables), replace(problem, degradations=both)


def best_of_equals(costs: np.ndarray, predicted: np.ndarray, finer: np.ndarray, budget: float) -> np.ndarray:
    """Return the rows within a budget: by the first metric, of equals by the finer one, then by how much is used."""
    rows = np.flatnonzero(costs <= budget)
    return rows[np.lexsort((-costs[rows], finer[rows], predicted[rows].round(9)))]
