"""What allocation chooses between: each group's numbers of kept channels, with what they degrade and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Scores, lowest


@dataclass(frozen=True, eq=False)
class Problem:
    """The choices of all groups that may be pruned. A *choice* is a row of one option for each group.

    A cost is ``z @ form @ z`` with z the channels kept of each cell, and a 1; see `fpgmlab.graph.costs.CostModel.form`.

    Attributes
    ----------
    names : tuple of str
        The groups.
    kept : tuple of ndarray
        For each group its options, descending. The first keeps all, unless it is the only one.
    degradations : tuple of ndarray
        For each group what each option degrades beyond the first, ascending from 0.
    cells : tuple of (slice, ndarray)
        For each group where its cells lie in z, and what each option keeps of them, (options, cells).
    whole : ndarray
        z of the unpruned network.
    form : ndarray
        (cells + 1, cells + 1), symmetric, in units of the unpruned network's cost.
    """

    names: tuple[str, ...]
    kept: tuple[np.ndarray, ...]
    degradations: tuple[np.ndarray, ...]
    cells: tuple[tuple[slice, np.ndarray], ...]
    whole: np.ndarray
    form: np.ndarray

    @cached_property
    def own(self) -> tuple[np.ndarray, ...]:
        """What each group's options cost with themselves, (options,) each."""
        return tuple(
            np.einsum("oi,ij,oj->o", kept, self.form[where, where], kept, optimize=True) for where, kept in self.cells
        )

    def predicted(self, choices: np.ndarray) -> np.ndarray:
        """Return the sum of all groups' degradations, (rows,)."""
        columns = [table[choices[:, g]] for g, table in enumerate(self.degradations)]
        return np.sum(columns, axis=0) if columns else np.zeros(len(choices))

    def vectors(self, choices: np.ndarray) -> np.ndarray:
        """Return z of each row, (rows, cells + 1)."""
        vectors = np.tile(self.whole, (len(choices), 1))
        for g, (where, kept) in enumerate(self.cells):
            vectors[:, where] = kept[choices[:, g]]
        return vectors

    def costs(self, choices: np.ndarray) -> np.ndarray:
        """Return what each row costs, as a fraction of the unpruned network, (rows,)."""
        vectors = self.vectors(choices)
        return ((vectors @ self.form) * vectors).sum(axis=1)

    def option_costs(self, vectors: np.ndarray, group: int) -> np.ndarray:
        """Return what each row would cost with each option of a group, less what no option changes, (rows, options)."""
        where, kept = self.cells[group]
        others = vectors @ self.form[:, where] - vectors[:, where] @ self.form[where, where]
        return 2 * others @ kept.T + self.own[group]

    def moves(self, choices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what each change of one group adds to the degradation and to the cost, (rows, changes) each.

        The changes are all options of the first group, then of the second, ...; see `changes`.
        """
        at = choices + self._offsets
        costs = 2 * (self.vectors(choices) @ self._foreign) @ self._stays.T + np.concatenate(self.own)
        costs -= np.take_along_axis(costs, at, axis=1)[:, self.changes[0]]
        table = np.concatenate(self.degradations)
        return table - table[at][:, self.changes[0]], costs

    @cached_property
    def changes(self) -> tuple[np.ndarray, np.ndarray]:
        """The group and the option of each change, (changes,) each."""
        counts = [len(kept) for kept in self.kept]
        return np.repeat(np.arange(len(counts)), counts), np.concatenate([np.arange(n) for n in counts])

    @cached_property
    def _offsets(self) -> np.ndarray:
        return np.cumsum([0, *(len(kept) for kept in self.kept)])[:-1]

    @cached_property
    def _foreign(self) -> np.ndarray:
        """The form without what a group costs with itself, (cells + 1, cells + 1)."""
        form = self.form.copy()
        for where, _ in self.cells:
            form[where, where] = 0
        return form

    @cached_property
    def _stays(self) -> np.ndarray:
        """What each change keeps of its own group's cells, 0 elsewhere, (changes, cells + 1)."""
        stays = np.zeros((len(self.changes[0]), len(self.whole)))
        for (where, kept), first in zip(self.cells, self._offsets, strict=True):
            stays[first : first + len(kept), where] = kept
        return stays

    def plan(self, graph: ChannelGraph, scores: Scores, choice: Sequence[int]) -> Plan:
        """Return one row as a plan."""
        removed = {}
        for name, options, option in zip(self.names, self.kept, choice, strict=True):
            if options[option] < graph[name].channels:
                removed[name] = lowest(graph[name], scores, graph[name].channels - int(options[option]))
        return Plan({name: group.channels for name, group in graph.items()}, removed)


def problem(
    graph: ChannelGraph,
    scores: Scores,
    options: Mapping[str, tuple[np.ndarray, np.ndarray]],
    form: np.ndarray,
) -> Problem:
    """Put a problem together.

    Parameters
    ----------
    graph : ChannelGraph
    scores : mapping of str to Tensor
        The channels with the lowest go first.
    options : mapping of str to (ndarray, ndarray)
        For each group that may be pruned: kept channels, descending from all, and what each degrades. A group with
        one option keeps that.
    form : ndarray
        Of the cost; see `fpgmlab.graph.costs.CostModel.form`.
    """
    cell_of = graph.costs.cells
    sizes = np.bincount(cell_of)
    whole = graph.costs.vector().astype(float)
    cells = []
    for name, (kept, _) in options.items():
        mine = cell_of[graph.channels_of(name)]
        where = slice(int(mine.min()), int(mine.max()) + 1)
        stays = np.tile(sizes[where].astype(float), (len(kept), 1))
        if stays.shape[1] == 1:
            stays[:, 0] = kept
        else:  # which cells a channel takes from depends on its score
            for row, count in zip(stays, kept, strict=True):
                gone = mine[list(lowest(graph[name], scores, graph[name].channels - int(count)))] - where.start
                row -= np.bincount(gone, minlength=len(row))
        cells.append((where, stays))
    unit = whole @ form @ whole
    return Problem(
        names=tuple(options),
        kept=tuple(kept for kept, _ in options.values()),
        degradations=tuple(each for _, each in options.values()),
        cells=tuple(cells),
        whole=whole,
        form=(form + form.T) / 2 / unit,
    )
