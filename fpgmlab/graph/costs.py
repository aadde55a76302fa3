"""Costs of a network under any plan, by arithmetic on channel counts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import nn

from fpgmlab.graph.layer import Layer
from fpgmlab.graph.products import tensors_and_weights


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes
    ----------
    macs : int
        Multiply-accumulates of convolutions and linear layers in one forward pass of one example (1 MAC = 2 FLOPs).
    params : int
        Numbers in all parameters.
    bytes : int
        Size of all parameters and buffers that are saved.
    """

    macs: int
    params: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.macs / 1e6:,.1f} M MACs, {self.params / 1e6:,.3f} M parameters, {self.bytes / 1e6:,.2f} MB"


@dataclass(frozen=True, eq=False)
class MacsTerms:
    """The MACs as products of two entries of z (see `CostModel.counts`), each ascribed to the group that makes them.

    Attributes
    ----------
    groups : ndarray of int, (terms,)
        Positions of the groups; -1 for what belongs to none.
    first, second : ndarray of int, (terms,)
        Positions of the two entries of z.
    macs : ndarray, (terms,)
        What their product is multiplied by. The sum over all terms is ``z @ form("macs") @ z``.
    """

    groups: np.ndarray
    first: np.ndarray
    second: np.ndarray
    macs: np.ndarray

    def at(self, z: np.ndarray) -> np.ndarray:
        """Return each term's MACs, (terms,)."""
        return self.macs * z[self.first] * z[self.second]


class CostModel:
    """Sizes of a model's tensors as products of channel counts.

    Each layer has a count of input and one of output channels. A count is linear in the channels kept of each *cell*: a
    set of channels of one group that appear equally often everywhere. Nearly always a group is one cell. So a
    cost is one small matrix-vector product and a sum of products of two counts.
    """

    def __init__(self, model: nn.Module, layers: Sequence[Layer], groups: Sequence[slice], other_macs: int = 0) -> None:
        sides = [side for layer in layers for side in (layer.inputs, layer.outputs)]
        self._groups = tuple(groups)
        self._other_macs = other_macs
        self._cell_of = _cells(sides, groups)
        self._sizes = np.bincount(self._cell_of)
        self._per_cell, self._fixed = _count_matrix(sides, self._cell_of)
        self._tensors, self._weights = tensors_and_weights(model, layers)

    def cost(self, removed: Mapping[int, Sequence[int]]) -> Cost:
        """Return the cost when these channels of these groups (by position) are removed."""
        kept = self._sizes.copy()
        for group, channels in removed.items():
            where = self._groups[group]
            first = self._cell_of[where.start]
            if self._sizes[first] == where.stop - where.start:
                kept[first] -= len(channels)
            else:
                np.subtract.at(kept, self._cell_of[where.start + np.asarray(channels)], 1)
        counts = self._fixed + self._per_cell @ kept
        sizes, units = self._tensors.sizes(counts), self._tensors.units
        macs = self._weights.sizes(counts) @ self._weights.units["macs"]
        return Cost(int(macs) + self._other_macs, int(sizes @ units["params"]), int(sizes @ units["bytes"]))

    @property
    def cells(self) -> np.ndarray:
        """The cell of each channel of all groups, (channels,)."""
        return self._cell_of

    @property
    def counts(self) -> np.ndarray:
        """Each layer's input and output channels as linear functions, (2 layers + 1, cells + 1).

        Of the channels kept of each cell, and a 1: z, see `vector`. Rows 2i and 2i + 1 are those of layer i; the last
        is always 1.
        """
        return np.column_stack([self._per_cell, self._fixed])

    def vector(self, keep: np.ndarray | None = None) -> np.ndarray:
        """Return z: the channels kept of each cell, and a 1, (cells + 1,).

        Parameters
        ----------
        keep : ndarray of bool, (channels,), optional
            Which channels of all groups stay, see `ChannelGraph.keep`; all when left out.
        """
        kept = self._sizes if keep is None else np.bincount(self._cell_of[keep], minlength=len(self._sizes))
        return np.append(kept, 1)

    def form(self, kind: str) -> np.ndarray:
        """Return a cost as a quadratic form, (cells + 1, cells + 1): ``z @ form @ z``, z as in `counts`.

        Parameters
        ----------
        kind : {"macs", "params", "bytes"}
        """
        products = self._weights if kind == "macs" else self._tensors
        sides = np.zeros((len(self._fixed),) * 2)
        factors = products.factor * products.units[kind] / products.divisor
        np.add.at(sides, (products.first, products.second), factors)
        form = self.counts.T @ sides @ self.counts
        form[-1, -1] += self._other_macs if kind == "macs" else 0
        return form

    @cached_property
    def macs_terms(self) -> MacsTerms:
        """The MACs as products of two entries of z, by the group that makes them."""
        counts = self.counts
        of_cell = np.full(counts.shape[1], -1)
        for group, where in enumerate(self._groups):
            of_cell[np.unique(self._cell_of[where])] = group
        last = counts.shape[1] - 1
        terms: dict[tuple[int, int, int], float] = {(-1, last, last): float(self._other_macs)}
        table = self._weights
        factors = table.factor * table.units["macs"] / table.divisor
        for first, second, factor in zip(table.first, table.second, factors, strict=True):
            for j in counts[second].nonzero()[0]:  # the channels that the layer makes
                for i in counts[first].nonzero()[0]:
                    place = (int(of_cell[j]), int(i), int(j))
                    terms[place] = terms.get(place, 0.0) + float(counts[first, i] * counts[second, j] * factor)
        groups, rows, columns = np.array(list(terms), dtype=int).reshape(-1, 3).T
        return MacsTerms(groups, rows, columns, np.array(list(terms.values())))

    def macs_by_group(self, z: np.ndarray) -> np.ndarray:
        """Return the MACs of the layers that make each group's channels, at z as in `vector`, (groups,).

        A layer of two groups is shared by their channels; what no group makes is missing.
        """
        terms = self.macs_terms
        return np.bincount(terms.groups + 1, terms.at(z), len(self._groups) + 1)[1:]

    def reached(self, free: np.ndarray) -> np.ndarray:
        """Return the MACs of layers that make or read one of some channels, by the group that they make, (groups + 1,).

        Parameters
        ----------
        free : ndarray of bool, (channels,)
            Which channels of all groups may be removed.

        Returns
        -------
        ndarray
            The last number is of those that make channels of no group; a layer of two groups is shared by their
            channels.
        """
        sides = (self._per_cell[:, np.unique(self._cell_of[free])] > 0).any(axis=1).reshape(-1)
        counts, table = self._fixed + self._per_cell @ self._sizes, self._weights
        macs = table.sizes(counts) * table.units["macs"] * (sides[table.first] | sides[table.second])
        of_cell = np.zeros((len(self._sizes), len(self._groups) + 1))
        for group, where in enumerate(self._groups):
            of_cell[np.unique(self._cell_of[where]), group] = 1
        made = (self._per_cell * self._sizes) @ of_cell  # of each side's channels, so many are of each group
        made[:, -1] = self._fixed
        return (macs / counts[table.second]) @ made[table.second]


def _cells(sides: Sequence[np.ndarray], groups: Sequence[slice]) -> np.ndarray:
    """Return each channel's cell, (channels,): cells are numbered in order of group."""
    total = groups[-1].stop
    # A channel's counts over all sides, as one number: a random weight for each side.
    weights = np.random.default_rng(0).integers(1, 2**40, len(sides))
    signature = np.zeros(total, dtype=np.int64)
    for side, weight in zip(sides, weights, strict=True):
        signature += np.bincount(side[side >= 0], minlength=total) * weight
    cell_of, cells = np.zeros(total, dtype=np.int64), 0
    for group in groups:
        different, inverse = np.unique(signature[group], return_inverse=True)
        cell_of[group] = cells + inverse
        cells += len(different)
    return cell_of


def _count_matrix(sides: Sequence[np.ndarray], cell_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (counts per channel kept of each cell, fixed counts): (sides + 1, cells), (sides + 1,).

    The last count is always 1.
    """
    sizes = np.bincount(cell_of)
    per_cell = np.zeros((len(sides) + 1, len(sizes)), dtype=np.int64)
    fixed = np.zeros(len(sides) + 1, dtype=np.int64)
    fixed[-1] = 1
    for i, side in enumerate(sides):
        fixed[i] = int((side < 0).sum())
        per_cell[i] = np.bincount(cell_of[side[side >= 0]], minlength=len(sizes)) // sizes
    return per_cell, fixed
