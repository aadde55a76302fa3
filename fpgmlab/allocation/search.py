"""The search: a pool of good choices, from the whole network down to the smallest, whatever the budget."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from fpgmlab.allocation.problem import Problem

PRICES = 64  # of a unit of cost in degradation, from nothing to everything
LEVELS = 100  # budgets at which choices are polished
SWEEPS = 30  # of coordinate descent at most; it ends earlier when nothing changes
ROUNDS = 10  # of exchanges at most
PASSES = 3  # of polishing at most
STARTS = 4  # choices that are polished at each level, at most
ELEMENTS = 1_000_000  # changes looked at in one round of exchanges: large networks, whose gaps are small, get less


def pool(problem: Problem) -> np.ndarray:
    """Return many choices, each good for what it costs, (rows, groups); nothing in it depends on a budget.

    Notes
    -----
    Three steps. First, for a grid of prices, the choice with the least degradation + price x cost, by coordinate
    descent with exact costs (Everett's generalised Lagrange multipliers, *Operations Research* 11, 1963). They lie on
    the lower convex hull of all choices. Second, all choices on the way from each to the next. Third, at each of a grid
    of costs the best so far are polished: one group gives channels up, and others fill the room.
    """
    if not problem.names:
        return np.zeros((1, 0), dtype=int)
    corners = _corners(problem)
    found = _distinct([corners, *(_between(problem, *ends) for ends in _pairs(corners))])
    levels = np.linspace(0, 1, LEVELS + 1)[1:]
    levels = levels[levels >= problem.costs(found).min() - 1e-12]
    effort = ELEMENTS // (len(problem.changes[0]) * len(levels))
    starts = int(np.clip(effort // 8, 1, STARTS))
    for _ in range(int(np.clip(effort // 4, 1, PASSES))):
        costs, predicted = problem.costs(found), problem.predicted(found)
        rows = [(row, level) for level in levels for row in best(costs, predicted, level + 1e-12)[:starts]]
        first, budgets = (np.array(each) for each in zip(*rows, strict=True))
        after = _distinct([found, *_polished(problem, found[first], budgets, max(1, effort // starts))])
        if len(after) == len(found):
            break
        found = after
    return found


def _distinct(choices: list[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(choices), axis=0)


def best(costs: np.ndarray, predicted: np.ndarray, budget: float) -> np.ndarray:
    """Return the rows within a budget, by rising degradation; of equals the one that uses more of it first."""
    rows = np.flatnonzero(costs <= budget)
    return rows[np.lexsort((-costs[rows], predicted[rows]))]


def _corners(problem: Problem) -> np.ndarray:
    """Return the choices of the grid of prices, by falling cost."""
    ends = np.array([[0] * len(problem.names), [len(kept) - 1 for kept in problem.kept]])
    vectors = problem.vectors(ends)
    by_group = []
    for g, table in enumerate(problem.degradations):
        costs = problem.option_costs(vectors, g)
        saved = costs[:, :1] - costs[:, 1:]
        by_group.append(np.where(saved > 0, table[1:] / np.maximum(saved, 1e-15), 0).ravel())
    rates = np.concatenate(by_group)
    if not rates.any():  # nothing does any harm
        return ends
    low, high = rates[rates > 0].min(), rates.max()
    prices = np.concatenate([[0], np.geomspace(low / 2, high * 2, PRICES), [high * 1e6]])
    rows = [_descended(problem, prices, np.repeat(end[None], len(prices), axis=0)) for end in ends]
    for shift in (1, -1):  # what a neighbouring price found may be a better start
        rows.append(_descended(problem, prices, np.roll(_cheapest(problem, prices, rows), shift, axis=0)))
    return np.concatenate([ends[:1], _cheapest(problem, prices, rows), ends[1:]])


def _cheapest(problem: Problem, prices: np.ndarray, rows: list[np.ndarray]) -> np.ndarray:
    """Return for each price the best of several choices."""
    values = [problem.predicted(choices) + prices * problem.costs(choices) for choices in rows]
    return np.stack(rows)[np.argmin(values, axis=0), np.arange(len(prices))]


def _descended(problem: Problem, prices: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """Return for each price a choice that no change of one group improves."""
    choices = choices.copy()
    vectors = problem.vectors(choices)
    for _ in range(SWEEPS):
        before = choices.copy()
        for g, (where, kept) in enumerate(problem.cells):
            values = problem.degradations[g] + prices[:, None] * problem.option_costs(vectors, g)
            choices[:, g] = np.argmin(values, axis=1)
            vectors[:, where] = kept[choices[:, g]]
        if np.array_equal(before, choices):
            break
    return choices


def _pairs(corners: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(a, b) for a, b in pairwise(corners) if not np.array_equal(a, b)]


def _between(problem: Problem, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the choices on the way from one to another: one option of one group at a time, the gentlest first."""
    steps = []
    vectors = problem.vectors(a[None])
    for g in np.flatnonzero(a != b).tolist():
        way = np.arange(a[g], b[g], 1 if b[g] > a[g] else -1)
        after = way + (1 if b[g] > a[g] else -1)
        costs = problem.option_costs(vectors, g)[0]
        harm = problem.degradations[g][after] - problem.degradations[g][way]
        saved = costs[way] - costs[after]
        rate = np.maximum.accumulate(harm / np.where(saved == 0, 1e-15, saved))  # a group's own steps stay in order
        steps += [(rate[i], g, after[i]) for i in range(len(way))]
    rows = np.repeat(a[None], len(steps), axis=0)
    for i, (_, g, option) in enumerate(sorted(steps, key=lambda step: step[:2])):
        rows[i:, g] = option
    return rows


def _polished(problem: Problem, choices: np.ndarray, budgets: np.ndarray, width: int) -> list[np.ndarray]:
    """Return what filling and exchanging make of a choice for each budget, with all steps on the way."""
    choices = _filled(problem, choices, budgets)
    seen = [choices]
    for _ in range(ROUNDS):
        after = _exchanged(problem, choices, budgets, width)
        better = (after != choices).any(axis=1)
        if not better.any():
            break
        choices, budgets = after[better], budgets[better]
        seen.append(choices)
    return seen


def _filled(problem: Problem, choices: np.ndarray, budgets: np.ndarray, frozen: np.ndarray | None = None) -> np.ndarray:
    """Make the change that helps most and fits, until none is left; in each row a ``frozen`` group stays as it is."""
    choices = choices.copy()
    groups, options = problem.changes
    left = np.arange(len(choices))
    while len(left):
        harm, cost = problem.moves(choices[left])
        room = (budgets[left] - problem.costs(choices[left]))[:, None]
        fits = cost <= room + 1e-12
        if frozen is not None:
            fits &= groups[None] != frozen[left, None]
        # A change without harm or help shall at least use the room.
        value = np.where(fits, harm - 1e-9 * cost, np.inf)
        move = value.argmin(axis=1)
        better = value[np.arange(len(left)), move] < -1e-14
        left, move = left[better], move[better]
        choices[left, groups[move]] = options[move]
    return choices


def _exchanged(problem: Problem, choices: np.ndarray, budgets: np.ndarray, width: int) -> np.ndarray:
    """Let one group give channels up, the ``width`` gentlest ways, and others fill the room; keep what is best."""
    groups, options = problem.changes
    harm, cost = problem.moves(choices)
    rate = np.where(cost < 0, harm / np.maximum(-cost, 1e-15), np.inf)
    first = np.argsort(rate, axis=1, kind="stable")[:, :width]
    rows = np.repeat(np.arange(len(choices)), first.shape[1])
    first = first.ravel()
    saves = cost[rows, first] < 0
    rows, first = rows[saves], first[saves]
    if not len(rows):
        return choices
    tried = choices[rows]
    tried[np.arange(len(rows)), groups[first]] = options[first]
    tried = _filled(problem, tried, budgets[rows], groups[first])
    gain = problem.predicted(choices)[rows] - problem.predicted(tried)
    order = np.lexsort((-gain, rows))
    top = order[np.unique(rows[order], return_index=True)[1]]
    top = top[gain[top] > 1e-12]
    after = choices.copy()
    after[rows[top]] = tried[top]
    return after
