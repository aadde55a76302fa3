"""The search on a latency table's own steps: what the quadratic form led to is put right there."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from fpgmlab.allocation.problem import Problem
from fpgmlab.allocation.search import best
from fpgmlab.deployment.staircases.steps import Widths
from fpgmlab.deployment.staircases.table import LatencyTable
from fpgmlab.graph.channel_graph import ChannelGraph

PRICES = 64  # of the whole latency in degradation
LEVELS = 48  # latencies at which choices are polished
SWEEPS = 12  # of coordinate descent at most
ROUNDS = 40  # of changes at each level at most
PAIRS = 24  # exchanges of two groups that are tried exactly in one round
SAME = 1.003  # times the latency of its layers: a count that saves less than that over a larger one is none


class Stairs:
    """What choices of a problem take by a latency table, as a fraction of the unpruned network.

    Parameters
    ----------
    problem : Problem
    graph : ChannelGraph
    table : LatencyTable
    """

    def __init__(self, problem: Problem, graph: ChannelGraph, table: LatencyTable) -> None:
        self.problem, self.table = problem, table
        self.whole = table.latency(graph)
        self._rows = {name: (2 * i, 2 * i + 1) for i, name in table.places(graph)}
        self._counts = graph.costs.counts

    @cached_property
    def touched(self) -> list[list[str]]:
        """The layers whose time depends on each group."""
        found = []
        for where, _ in self.problem.cells:
            own = {name for name, rows in self._rows.items() if self._counts[list(rows), where].any()}
            found.append([n for n, layer in self.table.layers.items() if n in own or own & set(layer.beside)])
        return found

    def costs(self, choices: np.ndarray) -> np.ndarray:
        """Return what each row takes, (rows,)."""
        each = self._milliseconds(list(self._rows), self.problem.vectors(choices))
        return (self.table.overhead + each.sum(axis=0)) / self.whole

    def option_costs(self, vectors: np.ndarray, group: int) -> np.ndarray:
        """Return what each row takes with each option of a group, less what no option changes, (rows, options)."""
        where, kept = self.problem.cells[group]
        rows = np.repeat(vectors, len(kept), axis=0)
        rows[:, where] = np.tile(kept, (len(vectors), 1))
        each = self._milliseconds(self.touched[group], rows).sum(axis=0) / self.whole
        return np.asarray(each.reshape(len(vectors), len(kept)))

    def _milliseconds(self, names: list[str], vectors: np.ndarray) -> np.ndarray:
        """Return the milliseconds of some layers, (layers, rows)."""
        needed = {*names, *(other for name in names for other in self.table.layers[name].beside)}
        counts = {
            name: tuple(np.rint(vectors @ self._counts[row]).astype(int) for row in self._rows[name]) for name in needed
        }
        widths = Widths({name: (i, o) for name, (i, o) in counts.items()}, self.table.kernels)
        if not names:
            return np.zeros((1, len(vectors)))
        return np.stack([widths.milliseconds(name, self.table.layers) for name in names])


def without_waste(problem: Problem, stairs: Stairs) -> list[np.ndarray]:
    """Return for each group which options are the last of a step: nothing that keeps more takes no more.

    All other groups are whole.
    """
    start = problem.vectors(np.zeros((1, len(problem.names)), dtype=int))
    kept = []
    for g in range(len(problem.names)):
        ms = stairs.option_costs(start, g)[0]  # by falling number of channels
        least = np.minimum.accumulate(np.concatenate([[np.inf], ms[:-1]]))
        kept.append(np.flatnonzero(ms * SAME < least) if len(ms) > 1 else np.array([0]))
    return kept


def staircase_pool(problem: Problem, stairs: Stairs, led: np.ndarray) -> np.ndarray:
    """Return choices that are good on the steps themselves, beside those that the quadratic form led to.

    Nothing in it depends on a budget, so that a larger budget never predicts worse.

    Parameters
    ----------
    problem : Problem
    stairs : Stairs
    led : ndarray, (rows, groups)
        See `fpgmlab.allocation.search.pool`.
    """
    if not problem.names:
        return led
    found = np.unique(np.concatenate([led, _descended(problem, stairs, led)]), axis=0)
    costs, predicted = stairs.costs(found), problem.predicted(found)
    levels = np.linspace(costs.min(), 1.0, LEVELS)
    first = [best(costs, predicted, level + 1e-12)[0] for level in levels]
    return np.unique(np.concatenate([found, *_polished(problem, stairs, found[first], levels)]), axis=0)


def _descended(problem: Problem, stairs: Stairs, led: np.ndarray) -> np.ndarray:
    """Return for each of a grid of prices a choice that no change of one group improves, all seen on the way."""
    costs, predicted = stairs.costs(led), problem.predicted(led)
    saved = 1 - costs
    rates = predicted[(saved > 1e-6) & (predicted > 0)] / saved[(saved > 1e-6) & (predicted > 0)]
    if not len(rates):
        return led[:1]
    prices = np.geomspace(rates.min() / 4, rates.max() * 40, PRICES)
    choices = led[np.argmin(predicted[None] + prices[:, None] * costs[None], axis=1)].copy()
    vectors = problem.vectors(choices)
    seen = [choices.copy()]
    for _ in range(SWEEPS):
        for g, (where, kept) in enumerate(problem.cells):
            values = problem.degradations[g] + prices[:, None] * stairs.option_costs(vectors, g)
            choices[:, g] = np.argmin(values, axis=1)
            vectors[:, where] = kept[choices[:, g]]
        if np.array_equal(seen[-1], choices):
            break
        seen.append(choices.copy())
    return np.concatenate(seen)


def _polished(problem: Problem, stairs: Stairs, choices: np.ndarray, levels: np.ndarray) -> list[np.ndarray]:
    """Return what filling up and exchanging make of a choice at each level, with all steps on the way."""
    choices, seen = choices.copy(), []
    left = np.arange(len(choices))
    for _ in range(ROUNDS):
        costs, harm = _moves(problem, stairs, choices[left])
        room = levels[left] - stairs.costs(choices[left])
        moved = []
        for at, row in enumerate(left):
            after = _step(problem, stairs, choices[row], harm[at], costs[at], float(room[at]))
            if after is not None:
                choices[row] = after
                moved.append(row)
        left = np.array(moved, dtype=int)
        if not len(left):
            break
        seen.append(choices[left].copy())
    return seen


def _moves(problem: Problem, stairs: Stairs, choices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what each change of one group adds to the cost and to the degradation, (rows, changes) each."""
    vectors = problem.vectors(choices)
    costs, harm = [], []
    for g, table in enumerate(problem.degradations):
        now = choices[:, g : g + 1]
        each = stairs.option_costs(vectors, g)
        costs.append(each - np.take_along_axis(each, now, axis=1))
        harm.append(table - table[now])
    return np.concatenate(costs, axis=1), np.concatenate(harm, axis=1)


def _step(
    problem: Problem, stairs: Stairs, choice: np.ndarray, harm: np.ndarray, costs: np.ndarray, room: float
) -> np.ndarray | None:
    """Return a choice with less harm that fits, one or two groups changed, or None."""
    groups, options = problem.changes
    single = np.flatnonzero((harm < -1e-12) & (costs <= room + 1e-12))
    if len(single):
        move = single[np.argmin(harm[single])]
        after = choice.copy()
        after[groups[move]] = options[move]
        return after
    up, down = np.flatnonzero(harm < -1e-12), np.flatnonzero((harm > 1e-12) & (costs < -1e-9))
    if not len(up) or not len(down):
        return None
    total = harm[up][:, None] + harm[down][None]
    fits = (costs[up][:, None] + costs[down][None] <= room + 1e-12) & (groups[up][:, None] != groups[down][None])
    total = np.where(fits & (total < -1e-12), total, np.inf)
    order = np.argsort(total, axis=None, kind="stable")[:PAIRS]
    order = order[np.isfinite(total.ravel()[order])]
    if not len(order):
        return None
    tried = np.repeat(choice[None], len(order), axis=0)
    for side, place in ((up, order // len(down)), (down, order % len(down))):
        tried[np.arange(len(order)), groups[side[place]]] = options[side[place]]
    now = stairs.costs(choice[None])[0]
    good = np.flatnonzero(stairs.costs(tried) - now <= room + 1e-12)
    return tried[good[0]] if len(good) else None
